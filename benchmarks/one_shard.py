"""A pool of one shard, listed once and embedded any number of times: what the encoding benchmarks share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from curation_assets.encoders import Encoder
from curation_assets.formats import build_reader
from curation_assets.pools import PoolSpec
from curation_assets.steps.ingest.embed import embed_shard
from curation_assets.steps.ingest.raw_pool import ingest_shard
from curation_assets.storage.outputs import Output, Recipe
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.shards import group_files

_RECIPE = Recipe({}, {}, "1")


class OneShard:
    """The only shard of a pool in a folder, without Dagster.

    Args:
        folder: from which `source.path` counts; outputs go below it.
        source: settings of the pool's source.
        encoder: settings of an encoder of the same modality.
    """

    def __init__(self, folder: Path, source: dict[str, Any], encoder: dict[str, Any]) -> None:
        targets = [{"name": "t", "size": 1}]
        values = {"name": "p", "source": source, "encoder": encoder, "targets": targets}
        self.spec = PoolSpec.model_validate(values)
        self.storage = PoolStorage(str(folder / "curated"), "p")
        self.reader = build_reader(self.spec.source, folder)
        (self.shard,) = group_files(self.reader.list_files(), 1)
        self.raw = self.storage.raw_pool(self.shard.key)
        with self.raw.writing(_RECIPE) as writer:
            ingest_shard(self.reader, self.shard, self.spec.source, writer)

    def embed(self, encoder: Encoder, decode_threads: int) -> Output:
        """The output `embeddings`, made anew."""
        output = self.storage.output("embeddings", self.shard.key)
        with output.writing(_RECIPE) as writer:
            embed_shard(
                self.reader,
                self.shard,
                self.raw,
                encoder,
                writer,
                source=self.spec.source,
                metric="cosine",
                decode_threads=decode_threads,
            )
        return output
