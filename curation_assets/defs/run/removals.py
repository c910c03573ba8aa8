"""What becomes of shards whose files have left the listing: kept for a while, or confirmed first if they are many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from curation_assets.errors import RemovalsError
from curation_assets.storage.outputs import timestamp
from curation_assets.storage.shards import ListingChange, Shard
from curation_assets.storage.tables import Embedded, RawPool, TokenCounts

KEPT_DAYS = 7
KEPT_ASSETS = frozenset({RawPool.asset, Embedded.asset, TokenCounts.asset})
"""Of a shard that is gone, so that files that come back are not read and embedded again."""
MOST_SHARE = 0.1
_NAMES_SHOWN = 3


def require_few_removals(change: ListingChange, known: Sequence[Shard], pool: str) -> None:
    """Refuse a listing that lacks more than one shard and more than a tenth of the shards or files.

    Raises:
        RemovalsError: naming what left, and how to confirm it.
    """
    before = {shard.key: shard for shard in known if not shard.gone_since}
    now = {shard.key: len(shard.files) for shard in change.shards}
    fewer = [key for key in change.changed if now[key] < len(before[key].files)]
    n_files = sum(len(shard.files) for shard in before.values())
    many = len(change.gone) > MOST_SHARE * len(before) or change.n_files_left > MOST_SHARE * n_files
    if len(change.gone) + len(fewer) <= 1 or not many:
        return
    keys = [*change.gone, *fewer]
    named = ", ".join(keys[:_NAMES_SHOWN]) + (", ..." if len(keys) > _NAMES_SHOWN else "")
    raise RemovalsError(
        f"{change.n_files_left:,} of the {n_files:,} files of pool '{pool}' have left the listing at once (of "
        f"{len(keys):,} of {len(before):,} shards: {named}): nothing was changed. Bring the files back, e.g. mount "
        f"their disk; or, if they are gone for good, confirm it with `curation-assets run --pool {pool} "
        f"--accept-removals` or with `accept_removals: true` in the launchpad of the job {pool}_curate"
    )


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
