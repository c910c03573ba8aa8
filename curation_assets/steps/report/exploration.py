"""The export for Embedding Atlas, as the page points to it."""

from __future__ import annotations

from curation_assets.pools import PoolSpec
from curation_assets.report.data import AtlasSummary
from curation_assets.steps.dataset.atlas import PICTURE, atlas_command
from curation_assets.storage.pool_storage import PoolStorage


def summarise_atlas(spec: PoolSpec, storage: PoolStorage) -> AtlasSummary | None:
    """How to open the export, and its picture; None if there is none."""
    output = storage.output("atlas")
    facts = output.facts()
    if spec.atlas is None or facts is None:
        return None
    summary = facts.summary
    return AtlasSummary(
        atlas_command(output, spec),
        summary["n_rows"],
        summary["n_pool_rows"],
        output.path(PICTURE).read_bytes(),
    )
