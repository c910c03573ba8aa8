"""Evaluation sets and pools held in memory, and the steps between them, run without Dagster."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

from curation_assets.encoders.base import Encoder
from curation_assets.formats.accounts import Account
from curation_assets.formats.base import Listing, RawSample, Rejection, ShardReader, SourceFile
from curation_assets.pools import PoolSpec
from curation_assets.steps.cleaning.evaluation_sets import embed_evaluation_sets
from curation_assets.steps.ingest.accepted import ShardSource
from curation_assets.steps.ingest.embed import embed_samples
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.shards import group_files
from curation_assets_tests.steps.drawn_pool import RECIPE
from curation_assets_tests.steps.making import make


class Held(ShardReader):
    """Samples by file, held in memory; contents are bytes, or the rows of a stored array."""

    def __init__(self, files: Mapping[str, Mapping[str, bytes | Sequence[float]]]) -> None:
        self._files = files

    def look(self) -> Listing:
        return Listing([SourceFile(name, len(samples), "1") for name, samples in sorted(self._files.items())])

    def read(self, file: str, account: Account | None = None) -> Iterator[RawSample | Rejection]:
        for i, (name, content) in enumerate(self._files[file].items()):
            held = content if isinstance(content, bytes) else b""
            yield RawSample(name, file, f"row {i}", i, held, {})

    def read_array(self, file: str) -> Iterator[np.ndarray]:
        rows = np.array(list(self._files[file].values()), dtype=np.float32)
        yield from (rows[start : start + 2] for start in range(0, len(rows), 2))


class LetterCounts(Encoder):
    """How often each letter occurs, of either case."""

    dimension = 26
    identity = {"model": "letters"}  # noqa: RUF012 - stands for a property
    window = 3

    def encode(self, samples: Sequence[str]) -> np.ndarray:
        letters = "abcdefghijklmnopqrstuvwxyz"
        return np.array([[text.lower().count(x) for x in letters] for text in samples], dtype=np.float32)


def resized(content: bytes, factor: float, form: str = "PNG") -> bytes:
    """An image at another size, encoded again."""
    image = Image.open(io.BytesIO(content)).convert("RGB")
    size = (round(image.width * factor), round(image.height * factor))
    buffer = io.BytesIO()
    image.resize(size, Image.Resampling.BICUBIC).save(buffer, form)
    return buffer.getvalue()


def read_sets(spec: PoolSpec, storage: PoolStorage, readers: Mapping[str, Any], encoder: Any) -> pl.DataFrame:
    """Run `evaluation_sets`."""
    with storage.output("evaluation_sets").writing(RECIPE) as writer:
        embed_evaluation_sets(spec, readers, encoder, writer)
    return storage.output("evaluation_sets").table("samples.parquet")


def decontaminate(spec: PoolSpec, storage: PoolStorage) -> pl.DataFrame:
    """Run `contaminated` and `admitted` for every shard; returns the evidence with its shard."""
    for shard in storage.shards():
        make(spec, storage, "contaminated", shard)
        make(spec, storage, "admitted", shard)
    return pl.concat(
        [
            storage.output("contaminated", shard.key)
            .table("evidence.parquet")
            .select(pl.lit(shard.key).alias("shard"), pl.all())
            for shard in storage.shards()
        ]
    )


def ingest(spec: PoolSpec, storage: PoolStorage, reader: ShardReader, encoder: Encoder) -> None:
    """Run `raw_pool` and `embeddings` for every shard."""
    storage.save_shards(group_files(reader.list_files(), 1))
    for shard in storage.shards():
        make(spec, storage, "raw_pool", shard, reader=reader)
        source = ShardSource(reader, shard, storage.raw_pool(shard.key), spec.source)
        with storage.output("embeddings", shard.key).writing(RECIPE) as writer:
            embed_samples(source, encoder, writer, metric="cosine")
