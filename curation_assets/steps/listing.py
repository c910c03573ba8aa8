"""The files of a pool as they are now, beside the last listing: looked at, or taken in before shards are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from curation_assets.errors import PoolSpecError
from curation_assets.formats.base import Listing
from curation_assets.formats.listed.links import REMEDY, named
from curation_assets.steps.cleaning.evaluation_sets import list_evaluation_sets
from curation_assets.steps.comparison.labels_table import find_labels_table
from curation_assets.steps.context import PoolAccess
from curation_assets.storage.evaluation import evaluation_files_changed
from curation_assets.storage.labels import labels_changed
from curation_assets.storage.shards import ListingChange, Shard, is_to_be_saved, relisted, save_left_out

_NAMES_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at the files found; nothing is stored."""

    change: ListingChange
    """Since the last listing; its shards are those that the next run works on."""
    skipped: str = ""
    """Why the files are not listed; empty if they are."""
    also_changed: tuple[str, ...] = ()
    """What else steps read and has changed, in words."""
    refused: str = ""
    """Why the next run does not take the change in; see `why_refused`."""

    @property
    def is_news(self) -> bool:
        """Whether there are files that the stored outputs do not know."""
        return bool(self.change.summary) or bool(self.also_changed)

    def lines(self) -> Iterator[str]:
        """The result for people; nothing if the files are listed and as they were."""
        if self.skipped:
            yield f"the files are not listed: {self.skipped}. What is shown is of the last listing"
        if self.refused:
            yield f"since the last listing: {self.change.summary}; the next run stops at that: {self.refused}"
        elif self.change.summary:
            yield f"since the last listing: {self.change.summary}; the next run takes that in"
        for what in self.also_changed:
            yield f"changed since the last listing: {what}; the next run reads that again"


def why_refused(change: ListingChange, known: Sequence[Shard], pool: str, most: float) -> str:
    """Why a listing is not taken in unless a person confirms it: many files have left; empty if not.

    Args:
        change: since the last listing.
        known: shards of the last listing.
        pool: name of the pool.
        most: share of the files or shards that may leave at once, `source.max_gone_share`.
    """
    before = {shard.key: shard for shard in known if not shard.gone_since}
    now = {shard.key: len(shard.files) for shard in change.shards}
    keys = [*change.gone, *(key for key in change.changed if now[key] < len(before[key].files))]
    n_files = sum(len(shard.files) for shard in before.values())
    many = len(change.gone) > most * len(before) or change.n_files_left > most * n_files
    if len(keys) <= 1 or not many:
        return ""
    return (
        f"{change.n_files_left:,} of the {n_files:,} files of pool '{pool}' have left the listing at once (of "
        f"{len(keys):,} of {len(before):,} shards: {_named(keys)}), more than source.max_gone_share: {most:g} "
        f"allows: nothing was changed. Bring the files back, e.g. mount their disk; or, if they are gone for good, "
        f"confirm it with `curation-assets run --pool {pool} --accept-removals` or with `accept_removals: true` in "
        f"the launchpad of the job {pool}_curate"
    )


def list_pool(pool: PoolAccess) -> Listing:
    """The files of the pool as they are now.

    Raises:
        PoolSpecError: if they cannot be listed; or if known files of the pool have become links that lead out of its
            folder, and the pool does not say whether to follow them: they would count as removed.
    """
    listing = pool.reader.look()
    if listing.held_back:
        known = {file.path for shard in pool.storage.all_shards() for file in shard.files}
        if kept := sorted(known & listing.held_back):
            raise PoolSpecError(
                f"{len(kept):,} known file{'s' if len(kept) > 1 else ''} of the pool ({named(kept)}) lead out of "
                f"source.path by links, and would count as removed: {REMEDY}"
            )
    return listing


def look_at_files(pool: PoolAccess, skipped: str = "") -> Look:
    """Compare the files of the pool with its last listing; with `skipped`, a reason, they are not listed."""
    known = pool.storage.known_shards()
    unseen = ListingChange([shard for shard in known if not shard.gone_since], [], [], [])
    if skipped:
        return Look(unseen, skipped)
    try:
        listing = list_pool(pool)
        change = relisted(listing.files, pool.spec.source.files_per_shard, known)
        also = tuple(_also_changed(pool))
    # Object stores raise errors of their own clients, which share no base class.
    except Exception as error:
        return Look(unseen, str(error).rstrip(".") or type(error).__name__)
    source = pool.spec.source
    refused = why_refused(change, known, pool.spec.name, source.max_gone_share)
    return Look(change, also_changed=also, refused=refused)


def _also_changed(pool: PoolAccess) -> Iterator[str]:
    folder = pool.storage.folder
    sets = list_evaluation_sets(pool.evaluation_readers)
    if sets and evaluation_files_changed(folder, sets):
        yield "files of the evaluation sets"
    if (table := find_labels_table(pool)) is not None and labels_changed(folder, table):
        yield "the table of labels"


def take_in_files(pool: PoolAccess, keys: Sequence[str], warn: Callable[[str], None]) -> dict[str, str]:
    """List the files of the pool before some of its shards are read by hand, and record how they are now.

    Every known shard gets its present files, so that processes that do this at the same time record the same. The
    shards to be read take part again if they were set aside. New files, and shards that have no file left, are up to
    a run of the whole pool.

    Args:
        pool: the pool.
        keys: shards to be read.
        warn: takes a line about files of other shards.

    Returns:
        Shards to be read that have no file left -> what to do.

    Raises:
        PoolSpecError: if the folder does not exist or holds no matching file.
    """
    known = {shard.key: shard for shard in pool.storage.known_shards()}
    listing = list_pool(pool)
    save_left_out(pool.storage.folder, listing.left_out)
    change = relisted(listing.files, pool.spec.source.files_per_shard, list(known.values()))
    now = {shard.key: shard for shard in change.shards}
    chosen = set(keys)
    # A shard that comes back needs its partition, which a run of the whole pool makes.
    listed = {key for key, shard in known.items() if not shard.gone_since}
    taken = known | {key: shard for key, shard in now.items() if key in listed or key in chosen}
    shards = [
        replace(shard, set_aside="") if key in chosen and key in now else shard
        for key, shard in sorted(taken.items())
    ]
    if is_to_be_saved(shards, list(known.values())):
        pool.storage.save_shards(shards)
    for what, found in (
        ("new", [*change.new, *change.back]),
        ("changed", change.changed),
        ("gone", change.gone),
    ):
        if others := [key for key in found if key not in chosen]:
            warn(
                f"{_named(others)}: {what} files, which this run does not read; {_remedy(pool)} takes them in"
            )
    return {
        key: f"none of its files is left ({_named([file.path for file in known[key].files])}): put them back, or "
        f"{_remedy(pool)} removes the shard"
        for key in change.gone
        if key in chosen
    }


def _named(names: Sequence[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _remedy(pool: PoolAccess) -> str:
    name = pool.spec.name
    return f"`curation-assets run --pool {name}`, the job {name}_curate or the sensor"
