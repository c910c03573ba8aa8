"""embeddings: the accepted samples through the encoder, or as the pool brings them."""

from typing import Any

import dagster as dg

from curation_assets.defs.assets.base import INGEST, PoolGraph
from curation_assets.defs.resources import CurationResource
from curation_assets.defs.run.step_run import StepRun
from curation_assets.steps.ingest.embeddings import EmbedShard
from curation_assets.steps.ingest.throughput import RunThroughput
from curation_assets.storage.pool_storage import PoolStorage


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
        run = StepRun(context, curation, spec, graph.steps["embeddings"])
        require_feasible_pool(graph, run.storage)
        made: list[dict[str, Any]] = []
        result = run.over_shards(
            EmbedShard(spec, run.storage, curation.home_folder),
            spreads=True,
            on_made=lambda facts: made.append(dict(facts.summary)),
        )
        if throughput := RunThroughput.of(made):
            context.log.info(f"embeddings of this run: {throughput.line()}")
        return result

    return embeddings


def require_feasible_pool(graph: PoolGraph, storage: PoolStorage) -> None:
    """Refuse settings that the pool's size rules out before hours of encoding, not after.

    Raises:
        PoolSpecError: if level 1 has more clusters than the pool has samples, or a target is too large.
    """
    facts = [storage.raw_pool(shard.key).facts() for shard in storage.shards()]
    if all(facts):
        graph.spec.require_feasible(sum(fact.summary["n_accepted"] for fact in facts if fact))
