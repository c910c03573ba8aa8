"""What of a pool could not be used: files that are damaged, and samples that are rejected, by shard and reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import polars as pl

from curation_assets.formats.accounts import LeftOut, LeftOutCounts, left_out_lines
from curation_assets.formats.base import RejectionReason, SourceFile
from curation_assets.pools import PoolSpec
from curation_assets.storage.outputs import Facts
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.shards import load_left_out
from curation_assets.storage.tables import Embedded, RawPool

# Reasons that concern the rest of a file, not one sample.
_OF_A_FILE = (RejectionReason.TRUNCATED_FILE, RejectionReason.UNREADABLE_FILE, RejectionReason.EMPTY_FILE)
_SOURCE = "source"
"""Name of the files among the inputs of a raw pool."""
_REASONS_SHOWN = 6
_FILES_SHOWN = 5
_NAMES_SHOWN = 3


@dataclass(frozen=True, slots=True)
class DamagedFile:
    """A file of the pool that could not be read, or not to its end."""

    shard: str
    file: str
    reason: str
    """A `RejectionReason`, or why the whole shard is set aside."""
    detail: str

    @property
    def is_merely_empty(self) -> bool:
        """Whether the file holds nothing, which need not be a fault."""
        return self.reason == RejectionReason.EMPTY_FILE


@dataclass(frozen=True, slots=True)
class Rejections:
    """Rejected samples of a shard, or of several."""

    n_samples: int
    reasons: Counter[str]

    @property
    def share(self) -> float:
        """Rejected share of the samples.

        Samples that could not be downloaded count neither as rejected nor as samples: links break, which says nothing
        about the files.
        """
        absent = self.reasons[RejectionReason.DOWNLOAD_FAILED.value]
        return (self.reasons.total() - absent) / max(1, self.n_samples - absent)

    @property
    def words(self) -> str:
        """The reasons with their counts, the most frequent first."""
        shown = self.reasons.most_common(_REASONS_SHOWN)
        more = len(self.reasons) - len(shown)
        return ", ".join(f"{reason}: {count:,}" for reason, count in shown) + (
            f", {more} more" if more else ""
        )


ShardFacts = Mapping[str, Facts]
"""Of the raw pool, by shard; the functions below read them where they are not given."""


def damaged_files(spec: PoolSpec, storage: PoolStorage, made: ShardFacts | None = None) -> list[DamagedFile]:
    """Files that could not be read, or not to their end, by shard; also of shards that are set aside unread.

    In a folder of single samples a damaged file is a rejected sample and is not listed here.
    """
    made, found = storage.shard_facts(RawPool.asset) if made is None else made, []
    reasons = [] if spec.source.format == "folder" else [reason.value for reason in _OF_A_FILE]
    for shard in storage.all_shards():
        facts = made.get(shard.key)
        if shard.set_aside and (facts is None or facts.inputs.get(_SOURCE) != shard.source_digest):
            found += [DamagedFile(shard.key, file.path, "set aside", shard.set_aside) for file in shard.files]
            continue
        if facts is None or not set(reasons) & set(facts.summary["rejections"]):
            continue
        rows = storage.raw_pool(shard.key).samples.read("file", "reason", "detail")
        rows = rows.filter(pl.col("reason").is_in(reasons)).unique("file", keep="first", maintain_order=True)
        found += [DamagedFile(shard.key, *row) for row in rows.iter_rows()]
    return found


def rejections_by_shard(
    storage: PoolStorage, made: ShardFacts | None = None, embedded: ShardFacts | None = None
) -> dict[str, Rejections]:
    """Rejected samples of every shard that was read, with those that turned out when it was embedded."""
    made = storage.shard_facts(RawPool.asset) if made is None else made
    embedded = storage.shard_facts(Embedded.asset) if embedded is None else embedded
    found = {}
    for shard in storage.all_shards():
        if (facts := made.get(shard.key)) is None:
            continue
        reasons = Counter(facts.summary["rejections"])
        after = embedded.get(shard.key)
        # Embeddings of other samples say nothing about these.
        if after and after.inputs.get(RawPool.asset) in (facts.digest, facts.digest_of(RawPool.CONTENT)):
            reasons.update(after.summary["rejections"])
        found[shard.key] = Rejections(facts.summary["n_rows"], reasons)
    return found


def total_rejections(by_shard: Mapping[str, Rejections]) -> Rejections:
    """Rejected samples of all shards together."""
    reasons: Counter[str] = Counter()
    for entry in by_shard.values():
        reasons.update(entry.reasons)
    return Rejections(sum(entry.n_samples for entry in by_shard.values()), reasons)


@dataclass(frozen=True, slots=True)
class LostFiles:
    """Files of which no sample is usable; each may hold any number of samples."""

    paths: list[str]
    n_bytes: int
    of_files: int
    of_bytes: int

    @property
    def share(self) -> float:
        """Their bytes among those of all files."""
        return self.n_bytes / max(1, self.of_bytes)

    @property
    def words(self) -> str:
        """Their number and share, with the first names."""
        names = ", ".join(self.paths[:_NAMES_SHOWN]) + (", ..." if len(self.paths) > _NAMES_SHOWN else "")
        what = f"of {len(self.paths):,} of {self.of_files:,} files nothing could be used"
        return f"{what} ({self.share:.0%} of the bytes): {names}"


def lost_files(spec: PoolSpec, storage: PoolStorage, made: ShardFacts | None = None) -> LostFiles:
    """Files with rejections and no accepted sample, of the shards that take part.

    In a folder each file is a sample, so none counts. Failed downloads say nothing about a file.
    """
    lost: list[SourceFile] = []
    shards = storage.shards()
    made = storage.shard_facts(RawPool.asset) if made is None else made
    for shard in shards if spec.source.format != "folder" else ():
        facts = made.get(shard.key)
        if facts is None or set(facts.summary["rejections"]) <= {RejectionReason.DOWNLOAD_FAILED.value}:
            continue
        if len(shard.files) <= 1:
            lost += shard.files if not facts.summary.get("n_accepted", 1) else ()
            continue
        rows = storage.raw_pool(shard.key).samples.read("file", "reason")
        used = set(rows.filter(pl.col("reason").is_null())["file"].unique())
        failed = rows.filter(pl.col("reason") != RejectionReason.DOWNLOAD_FAILED.value)["file"].unique()
        useless = set(failed) - used
        lost += [file for file in shard.files if file.path in useless]
    lost = [file for file in lost if file.size_bytes]
    return LostFiles(
        [file.path for file in lost],
        sum(file.size_bytes for file in lost),
        sum(len(shard.files) for shard in shards),
        sum(shard.n_bytes for shard in shards),
    )


def damage_lines(spec: PoolSpec, storage: PoolStorage) -> Iterator[str]:
    """What could not be used or is left out, for people; nothing if all of the pool is used."""
    made, embedded = storage.shard_facts(RawPool.asset), storage.shard_facts(Embedded.asset)
    files_left_out, members_left_out = left_out_of_pool(storage, made)
    yield from left_out_lines(files_left_out)
    yield from left_out_lines(members_left_out, "member")
    every = total_rejections(rejections_by_shard(storage, made, embedded))
    if every.reasons:
        yield f"rejected: {every.reasons.total():,} of {every.n_samples:,} samples ({every.words})"
        if (lost := lost_files(spec, storage, made)).paths:
            yield lost.words
    yield from blank_lines(storage, embedded)
    files = [file for file in damaged_files(spec, storage, made) if not file.is_merely_empty]
    for file in files[:_FILES_SHOWN]:
        yield f"damaged: {file.file} ({file.reason}: {file.detail})"
    if len(files) > _FILES_SHOWN:
        yield f"and {len(files) - _FILES_SHOWN} more damaged files: see the check files_are_readable of raw_pool"


def blank_lines(storage: PoolStorage, embedded: ShardFacts | None = None) -> Iterator[str]:
    """How many images show one colour only, with examples; nothing if none does."""
    facts = storage.shard_facts(Embedded.asset) if embedded is None else embedded
    keys = [shard.key for shard in storage.shards() if shard.key in facts]
    counts = {key: int(facts[key].summary.get("n_blank", 0)) for key in keys}
    n_blank = sum(counts.values())
    names: list[str] = []
    for key in keys:
        if counts[key] and len(names) < _NAMES_SHOWN:
            stored = storage.embedded(key)
            names += stored.rows.column("sample_id")[stored.blank_rows()[:_NAMES_SHOWN]].to_list()
    if n_blank:
        n_rows = sum(int(facts[key].summary["n_rows"]) for key in keys)
        shown = ", ".join(names[:_NAMES_SHOWN]) + (", ..." if n_blank > _NAMES_SHOWN else "")
        yield (
            f"blank_image: {n_blank:,} of {n_rows:,} images show one colour only ({shown}): they are kept, and are "
            f"copies only of equal bytes"
        )


def left_out_of_pool(storage: PoolStorage, made: ShardFacts) -> tuple[LeftOut, LeftOut]:
    """What is left out of the pool: files of the last listing, and members of its files."""
    members = LeftOutCounts()
    for shard in storage.all_shards():
        if shard.key in made:
            members.merge(made[shard.key].summary.get("left_out", {}))
    return load_left_out(storage.folder), members.counts()


def set_aside_lines(storage: PoolStorage) -> Iterator[str]:
    """The shards that the pool is curated without, and why."""
    for shard in storage.all_shards():
        if shard.set_aside:
            yield f"curated without shard {shard.key}: {shard.set_aside}"
