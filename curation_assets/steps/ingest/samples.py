"""The samples behind rows of the pool, read back from its files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from curation_assets.formats.base import RawSample, ShardReader
from curation_assets.pools import EmbeddingsSource, SourceSettings
from curation_assets.steps.ingest.accepted import is_as_read, samples_gone
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.tables import LABEL_PREFIX


@dataclass(frozen=True, slots=True)
class PoolSample:
    """One row of the raw pool, with its sample if there is one to be read."""

    shard: str
    raw_row: int
    record: Mapping[str, Any]
    """Columns of `raw_pool`."""
    sample: RawSample | None

    def labels(self, source: SourceSettings) -> list[str]:
        """Its labels, in the order of `label_fields`; missing ones are left out."""
        values = [self.record[LABEL_PREFIX + name] for name in source.label_fields]
        return [str(value) for value in values if value is not None]


def read_pool_samples(
    storage: PoolStorage, reader: ShardReader, source: SourceSettings, wanted: Mapping[str, Sequence[int]]
) -> Iterator[PoolSample]:
    """Read rows of the pool, holding one sample in memory at a time.

    A file is read up to its last wanted sample.

    Args:
        storage: the pool's outputs.
        reader: of the pool's files.
        source: of the pool; one of embeddings without a `text_field` has nothing to read.
        wanted: rows of the raw pool by shard.

    Raises:
        ShardError: if a sample is no longer in its file as the raw pool found it, a file is missing, or storage fails.
    """
    reads = not isinstance(source, EmbeddingsSource) or source.text_field is not None
    shards = {shard.key: shard for shard in storage.shards()}
    for key, raw_rows in wanted.items():
        raw = storage.raw_pool(key).samples.read().with_row_index("raw_row")
        records = raw.filter(pl.col("raw_row").is_in(list(raw_rows))).rows(named=True)
        places = {(record["file"], record["offset"]): record for record in records}
        n_gone, changed = 0, dict[str, str]()
        for file in shards[key].files if reads else ():
            left = sum(name == file.path for name, _ in places)
            if not left:
                continue
            for item in reader.read(file.path):
                if isinstance(item, RawSample) and (record := places.pop((file.path, item.offset), None)):
                    if not is_as_read(item, record["content_sha256"]):
                        n_gone += 1
                        changed.setdefault(file.path, record["sample_id"])
                    yield PoolSample(key, record["raw_row"], record, item)
                    left -= 1
                    if not left:
                        break
        # A rejected file, or one without samples, has rows without a place.
        for record in places.values():
            if reads and record["offset"] is not None:
                n_gone += 1
                changed.setdefault(record["file"], record["sample_id"])
        if n_gone:
            raise samples_gone(key, n_gone, changed=changed)
        for record in places.values():
            yield PoolSample(key, record["raw_row"], record, None)


def sample_text(sample: RawSample | None, source: SourceSettings) -> str | None:
    """The text of a sample, or the `text_field` of one that came embedded; None for an image.

    Raises:
        RejectedSampleError: if the text cannot be decoded.
    """
    if sample is None:
        return None
    if isinstance(source, EmbeddingsSource):
        value = sample.attributes.get(source.text_field) if source.text_field else None
        return None if value is None else str(value)
    if source.modality == "text":
        from curation_assets.formats.texts import decode_text

        return decode_text(sample.content, source.max_text_bytes)
    return None


def sample_thumbnail(sample: RawSample | None, source: SourceSettings, side: int) -> bytes | None:
    """A small WebP of a sample's image, its longer side at most `side` pixels; None if it is not an image.

    Raises:
        RejectedSampleError: if the image cannot be decoded.
    """
    if sample is None or isinstance(source, EmbeddingsSource) or source.modality != "image":
        return None
    from curation_assets.formats.images import thumbnail

    return thumbnail(sample.content, source.max_image_pixels, side)
