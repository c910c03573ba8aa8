"""How the page refers to the export for Embedding Atlas."""

from __future__ import annotations

from curation_assets.pools import PoolSpec
from curation_assets.report.data import AtlasSummary
from curation_assets.steps.dataset.atlas import atlas_command
from curation_assets.storage.tables import Atlas


def summarise_atlas(spec: PoolSpec, atlas: Atlas) -> AtlasSummary | None:
    """How to open the export, and its picture; None if there is none."""
    facts = atlas.facts()
    if spec.atlas is None or facts is None:
        return None
    summary = facts.summary
    return AtlasSummary(
        atlas_command(atlas, spec),
        summary["n_rows"],
        summary["n_pool_rows"],
        atlas.path(Atlas.PICTURE).read_bytes(),
    )
