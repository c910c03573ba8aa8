"""When level 1 is fitted on other rows than before: the one place that moves the rows of the fit."""

from __future__ import annotations

from curation_assets.graph.freshness import Freshness
from curation_assets.storage.pool_storage import PoolStorage

FIRST_FIT, FITTED_AGAIN = "first fit", "level 1 was fitted again, on all rows there are"


def due_refit(freshness: Freshness) -> str | None:
    """Why the pool's policy asks for a refit; None if it does not, or drift is not measured yet.

    A refit waits until the present tree is archived: its clusters are about to be overwritten.
    """
    if freshness.reason("drift", None) or freshness.reason("tree", None):
        return None
    facts = freshness.facts("drift", None)
    return "; ".join(facts.summary["reasons"]) or None if facts else None


def choose_fit_rows(storage: PoolStorage, freshness: Freshness, reason: str | None = None) -> bool:
    """Make all embedded rows there are now those of the fit; level 1 is out of date if they differ.

    Args:
        storage: the pool's outputs.
        freshness: as they are now.
        reason: why; told from what is recorded if not given.

    Returns:
        Whether the rows changed.
    """
    recorded = storage.fit_rows()
    rows = freshness.all_rows(reason or (FITTED_AGAIN if recorded else FIRST_FIT))
    if rows is None:
        # A shard is not embedded: the step that called will say so.
        return False
    if recorded and recorded.digest == rows.digest and recorded.encoder == rows.encoder:
        return False
    storage.save_fit_rows(rows)
    return True
