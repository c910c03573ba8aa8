"""The accepted samples of a shard, read again from its files, and in groups that are worked on together."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from curation_assets.errors import ShardError
from curation_assets.formats.attributes import attributes_json
from curation_assets.formats.base import RawSample, ShardReader
from curation_assets.storage.shards import Shard
from curation_assets.storage.tables import RawPool

if TYPE_CHECKING:
    from curation_assets.pools import SourceSettings
    from curation_assets.steps.context import StepContext

# A window has thousands of texts, and one text may have millions of characters. It does not follow the pool's budget:
# the last bits of embeddings depend on what is encoded together.
MAX_CHARACTERS = 2**26
_FILES_SHOWN = 3


@dataclass(frozen=True, slots=True)
class ShardSource:
    """Where the samples of a shard come from."""

    reader: ShardReader
    shard: Shard
    raw_pool: RawPool
    """Of the shard."""
    settings: SourceSettings
    """Of the pool's source; they say how a sample is decoded."""

    @classmethod
    def of(cls, step: StepContext) -> ShardSource:
        """The source of the shard that a step makes."""
        return cls(step.pool.reader, step.shard, step.storage.raw_pool(step.shard.key), step.spec.source)

    @property
    def n_accepted(self) -> int:
        """Samples that the raw pool accepted."""
        return int(self.raw_pool.require_facts().summary["n_accepted"])


def accepted_rows(raw_pool: RawPool) -> pl.DataFrame:
    """The raw pool's accepted rows, with their position `raw_row` in the whole table."""
    return raw_pool.samples.read().with_row_index("raw_row").filter(pl.col("reason").is_null())


def extras_digest(sample: RawSample) -> str | None:
    """SHA-256 of what goes out with a sample beside its content: captions, metadata, other members.

    Their order counts, as it is theirs in the released tars. None if there is nothing, or the sample has no content of
    its own.
    """
    others = [(name, part) for name, part in sample.parts.items() if part is not sample.content]
    if not others and sample.attributes:
        others = [("", (attributes_json(sample.attributes) or "").encode())]
    if not others or not sample.content:
        return None
    digest = hashlib.sha256()
    for name, part in others:
        digest.update(f"{len(name.encode())} {len(part)} {name}".encode())
        digest.update(part)
    return digest.hexdigest()


def is_as_read(sample: RawSample, content_sha256: str | None, extras_sha256: str | None = None) -> bool:
    """Whether the raw pool found this content at this place, and these extras; None compares nothing."""
    if content_sha256 is not None and hashlib.sha256(sample.content).hexdigest() != content_sha256:
        return False
    return extras_sha256 is None or extras_digest(sample) == extras_sha256


def samples_gone(
    shard: str,
    n_samples: int,
    which: str = "samples of the raw pool",
    changed: Mapping[str, str] | None = None,
) -> ShardError:
    """The files of a shard have changed since the raw pool read them.

    Args:
        shard: key of the shard.
        n_samples: that are not found again, or with other content.
        which: what they are.
        changed: files in which samples are missing or have other content -> id of one of them.
    """
    shown = [f"{file} (sample '{changed[file]}')" for file in sorted(changed)] if changed else []
    where = ", ".join(shown[:_FILES_SHOWN]) + (", ..." if len(shown) > _FILES_SHOWN else "")
    what = f"the file changed since it was listed: {where}: " if shown else ""
    return ShardError(
        f"shard '{shard}': {what}{n_samples:,} {which} are no longer in its files: run raw_pool again, "
        f"with everything downstream of it"
    )


def accepted_samples(
    reader: ShardReader, shard: Shard, accepted: pl.DataFrame
) -> Iterator[tuple[int, RawSample]]:
    """Stream the samples of `accepted`, each with its `raw_row`.

    Raises:
        ShardError: at the end, if samples of the raw pool are no longer in the files, or have other content; or if
            storage fails.
    """
    columns = ("file", "offset", "raw_row", "content_sha256", "sample_id")
    expected = {
        (file, offset): (row, digest, sample_id)
        for file, offset, row, digest, sample_id in zip(*(accepted[name] for name in columns), strict=True)
    }
    for file in shard.files:
        for item in reader.read(file.path):
            if not isinstance(item, RawSample) or (file.path, item.offset) not in expected:
                continue
            row, digest, _ = expected[file.path, item.offset]
            if is_as_read(item, digest):
                del expected[file.path, item.offset]
                yield row, item
    if expected:
        changed = {file: sample_id for (file, _), (_, _, sample_id) in reversed(expected.items())}
        raise samples_gone(shard.key, len(expected), changed=changed)


def windows(
    samples: Iterable[tuple[int, Any]], size: int, max_characters: int = MAX_CHARACTERS
) -> Iterator[list[tuple[int, Any]]]:
    """Group neighbouring samples.

    Args:
        samples: pairs of a row and its sample: a text, or anything that does not count in characters.
        size: samples of a window at most.
        max_characters: of all its texts together, after which a window ends: one text may go beyond.
    """
    window: list[tuple[int, Any]] = []
    n_characters = 0
    for row, sample in samples:
        window.append((row, sample))
        n_characters += len(sample) if isinstance(sample, str) else 0
        if len(window) >= size or n_characters >= max_characters:
            yield window
            window, n_characters = [], 0
    if window:
        yield window
