"""The embeddings of any shard of a pool, in whichever process is asked for them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from curation_assets.formats import build_reader
from curation_assets.pools import PoolSpec
from curation_assets.steps.ingest.decoded_windows import resolve_decode_threads
from curation_assets.steps.ingest.embed import embed_shard
from curation_assets.steps.ingest.precomputed import take_embeddings
from curation_assets.steps.shard_task import ShardReport
from curation_assets.storage.outputs import OutputWriter
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.shards import Shard


@dataclass(frozen=True, slots=True)
class EmbedShard:
    """Embeds shards; the encoder is loaded once in each process that does.

    Args:
        spec: the pool.
        storage: its outputs.
        home_folder: relative paths of the pool count from here.
    """

    spec: PoolSpec
    storage: PoolStorage
    home_folder: str

    def __call__(self, shard: Shard, writer: OutputWriter, report: ShardReport) -> None:
        """Write a shard's embeddings (see `embed_shard` and `take_embeddings`)."""
        from curation_assets.encoders.loading import load_encoder
        from curation_assets.formats.embeddings import EmbeddingsReader

        spec = self.spec
        reader = build_reader(spec.source, Path(self.home_folder))
        raw_pool = self.storage.raw_pool(shard.key)
        n_accepted = max(1, raw_pool.require_facts().summary["n_accepted"])
        on_progress = partial(_report_samples, report, n_accepted)
        metric = spec.preprocessing.metric
        if isinstance(reader, EmbeddingsReader) or spec.encoder is None:
            take_embeddings(
                reader,  # type: ignore[arg-type] # a pool without an encoder is one of embeddings
                shard,
                raw_pool,
                writer,
                encoder=spec.encoder_name,
                metric=metric,
                on_progress=on_progress,
            )
            return
        embed_shard(
            reader,
            shard,
            raw_pool,
            load_encoder(spec.encoder),
            writer,
            source=spec.source,
            metric=metric,
            decode_threads=resolve_decode_threads(spec.encoder.decode_threads),
            on_progress=on_progress,
        )


def _report_samples(report: ShardReport, n_accepted: int, done: int, speed: str) -> None:
    report(done / n_accepted, f"{done:,} of {n_accepted:,} samples, {speed}")
