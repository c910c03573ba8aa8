"""When level 1 is fitted on other rows: the only place that changes the rows of the fit."""

from __future__ import annotations

from dataclasses import dataclass

from curation_assets.errors import StaleInputError
from curation_assets.graph.freshness import Freshness
from curation_assets.graph.relations import fit_steps
from curation_assets.graph.steps import pool_steps
from curation_assets.pools import PoolSpec
from curation_assets.storage.fit_rows import FitRows, save_fit_rows
from curation_assets.storage.pool_storage import PoolStorage

FIRST_FIT, FITTED_AGAIN = "first fit", "level 1 was fitted again, on all rows there are"


def due_refit(freshness: Freshness) -> str | None:
    """Why the pool's policy asks for a refit; None if it does not, or if drift is not measured yet.

    A refit waits until the current tree is archived, because it overwrites the clusters.
    """
    if freshness.reason("drift", None) or freshness.reason("tree", None):
        return None
    facts = freshness.facts("drift", None)
    return "; ".join(facts.summary["reasons"]) or None if facts else None


def choose_fit_rows(storage: PoolStorage, freshness: Freshness, reason: str | None = None) -> bool:
    """Make all present rows the rows of the fit; if they differ, level 1 is out of date.

    Without a reason, it follows from what is recorded.

    Returns:
        Whether the rows changed.
    """
    recorded = storage.fit_rows()
    rows = freshness.all_rows(reason or (FITTED_AGAIN if recorded else FIRST_FIT))
    if rows is None:
        # A shard is not embedded yet; the calling step reports that.
        return False
    if recorded and recorded.digest == rows.digest and recorded.encoder == rows.encoder:
        return False
    save_fit_rows(storage.folder, rows)
    return True


@dataclass(frozen=True, slots=True)
class StandingTree:
    """The current tree."""

    version: str
    rows: FitRows
    """The rows that it is fitted on."""


def standing_tree(spec: PoolSpec, storage: PoolStorage) -> StandingTree:
    """The current tree.

    Raises:
        StaleInputError: if level 1 must be fitted first.
    """
    steps, shards = pool_steps(spec), storage.shards()
    freshness = Freshness(storage, steps, shards)
    if freshness.fit_rows() is None and not any(freshness.reason(name, None) for name in fit_steps(steps, 1)):
        # Trees of version 0.1 have no recorded rows. This one is up to date, so it is fitted on the present rows.
        choose_fit_rows(storage, freshness)
        freshness = Freshness(storage, steps, shards)
    rows = freshness.fit_rows()
    if rows is None:
        raise StaleInputError(f"pool '{spec.name}' has no current tree: materialize level 1 first")
    return StandingTree(str(freshness.tree_version()), rows)
