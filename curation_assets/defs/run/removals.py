"""What becomes of shards whose files have left the listing: kept for a while, or confirmed first if they are many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from curation_assets.errors import RemovalsError
from curation_assets.steps.listing import why_refused
from curation_assets.storage.outputs import timestamp
from curation_assets.storage.shards import ListingChange, Shard
from curation_assets.storage.tables import Embedded, RawPool, TokenCounts

KEPT_DAYS = 7
KEPT_ASSETS = frozenset({RawPool.asset, Embedded.asset, TokenCounts.asset})
"""Of a shard that is gone, so that files that come back are not read and embedded again."""


def require_few_removals(change: ListingChange, known: Sequence[Shard], pool: str, most: float) -> None:
    """Refuse a listing that lacks files of more than one shard, and more than a share of the shards or files.

    Args:
        change: since the last listing.
        known: shards of the last listing.
        pool: name of the pool.
        most: the share that may leave at once, `source.max_gone_share`.

    Raises:
        RemovalsError: naming what left, and how to confirm it.
    """
    if why := why_refused(change, known, pool, most):
        raise RemovalsError(why)


def split_away(away: Sequence[Shard], *, at_once: bool = False) -> tuple[list[Shard], list[Shard]]:
    """Shards without files: those that are kept for now, and those to remove.

    Args:
        away: shards of which no file is listed.
        at_once: remove all of them now.
    """
    now = timestamp()
    kept = [replace(shard, gone_since=shard.gone_since or now, set_aside="") for shard in away]
    if at_once:
        return [], kept
    oldest = datetime.now(UTC) - timedelta(days=KEPT_DAYS)
    late = [shard for shard in kept if datetime.fromisoformat(shard.gone_since) < oldest]
    return [shard for shard in kept if shard not in late], late
