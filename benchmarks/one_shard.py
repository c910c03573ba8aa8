"""A pool of one shard that can be embedded any number of times, for the encoding benchmarks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from curation_assets.encoders import Encoder
from curation_assets.graph.steps import pool_steps
from curation_assets.pools import PoolSpec
from curation_assets.steps.context import PoolAccess, StepContext
from curation_assets.steps.ingest.accepted import ShardSource
from curation_assets.steps.ingest.embed import embed_samples
from curation_assets.steps.ingest.raw_pool import ingest_shard
from curation_assets.storage.outputs import Output, Recipe
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.shards import group_files

_RECIPE = Recipe({}, {}, "1")


class OneShard:
    """The only shard of a pool in a folder, without Dagster.

    Args:
        folder: project folder; outputs go below it.
        source: settings of the pool's source.
        encoder: settings of an encoder of the same modality.
    """

    def __init__(self, folder: Path, source: dict[str, Any], encoder: dict[str, Any]) -> None:
        targets = [{"name": "t", "size": 1}]
        values = {"name": "p", "source": source, "encoder": encoder, "targets": targets}
        self.spec = PoolSpec.model_validate(values)
        self.storage = PoolStorage(str(folder / "curated"), "p")
        pool = PoolAccess(self.spec, self.storage, str(folder))
        (shard,) = group_files(pool.reader.list_files(), 1)
        with self.storage.output("raw_pool", shard.key).writing(_RECIPE) as writer:
            ingest_shard(StepContext(pool, pool_steps(self.spec)["raw_pool"], writer, shard))
        self.source = ShardSource(pool.reader, shard, self.storage.raw_pool(shard.key), self.spec.source)

    def embed(self, encoder: Encoder, decode_threads: int) -> Output:
        """Make the output `embeddings` again."""
        output = self.storage.output("embeddings", self.source.shard.key)
        with output.writing(_RECIPE) as writer:
            embed_samples(self.source, encoder, writer, metric="cosine", decode_threads=decode_threads)
        return output
