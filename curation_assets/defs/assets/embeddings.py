"""embeddings: the accepted samples through the encoder, or as the pool brings them."""

from functools import partial
from typing import Any

import dagster as dg

from curation_assets.defs.assets.base import INGEST, PoolGraph
from curation_assets.defs.resources import CurationResource
from curation_assets.defs.step_runs import Report, StepRun
from curation_assets.steps.decoded_windows import resolve_decode_threads
from curation_assets.steps.embed import embed_shard
from curation_assets.steps.precomputed import take_embeddings
from curation_assets.steps.throughput import RunThroughput
from curation_assets.storage.outputs import OutputWriter
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.shards import Shard


def build_embeddings(graph: PoolGraph) -> dg.AssetsDefinition:
    """The asset that embeds each shard."""
    spec = graph.spec

    @graph.asset(
        "embeddings",
        lane=INGEST,
        kinds={"torch", "numpy"} if spec.encoder else {"numpy"},
        description=f"float16 embeddings by {spec.encoder_name}, one row per usable sample.",
    )
    def embeddings(context: dg.AssetExecutionContext, curation: CurationResource) -> dg.MaterializeResult:
        from curation_assets.formats.embeddings import EmbeddingsReader

        run = StepRun(context, curation, spec, graph.steps["embeddings"])
        require_feasible_pool(graph, run.storage)
        reader = curation.reader(spec)
        n_threads = resolve_decode_threads(spec.encoder.decode_threads) if spec.encoder else 0
        made: list[dict[str, Any]] = []

        def embed(shard: Shard, writer: OutputWriter, report: Report) -> None:
            raw_pool = run.storage.output("raw_pool", shard.key)
            n_accepted = max(1, raw_pool.require_facts().summary["n_accepted"])
            on_progress = partial(_report_samples, report, n_accepted)
            metric = spec.preprocessing.metric
            if isinstance(reader, EmbeddingsReader):
                name = spec.encoder_name
                take_embeddings(
                    reader, shard, raw_pool, writer, encoder=name, metric=metric, on_progress=on_progress
                )
            else:
                embed_shard(
                    reader,
                    shard,
                    raw_pool,
                    curation.encoder(spec),
                    writer,
                    source=spec.source,
                    metric=metric,
                    decode_threads=n_threads,
                    on_progress=on_progress,
                )
            made.append(writer.summary)

        result = run.over_shards(embed)
        if throughput := RunThroughput.of(made):
            context.log.info(f"embeddings of this run: {throughput.line()}")
        return result

    return embeddings


def _report_samples(report: Report, n_accepted: int, done: int, speed: str) -> None:
    report(done / n_accepted, f"{done:,} of {n_accepted:,} samples, {speed}")


def require_feasible_pool(graph: PoolGraph, storage: PoolStorage) -> None:
    """Refuse settings that the pool's size rules out before hours of encoding, not after.

    Raises:
        PoolSpecError: if level 1 has more clusters than the pool has samples, or a target is too large.
    """
    facts = [storage.output("raw_pool", shard.key).facts() for shard in storage.shards()]
    if all(facts):
        graph.spec.require_feasible(sum(fact.summary["n_accepted"] for fact in facts if fact))
