"""raw_pool: what lies in the pool's files."""

import dagster as dg

from curation_assets.defs.assets.base import INGEST, PoolGraph
from curation_assets.defs.resources import CurationResource
from curation_assets.defs.run.step_run import Report, StepRun
from curation_assets.steps.ingest.raw_pool import ingest_shard
from curation_assets.storage.outputs import OutputWriter
from curation_assets.storage.shards import Shard


def build_raw_pool(graph: PoolGraph) -> dg.AssetsDefinition:
    """The asset that lists the samples of each shard."""

    @graph.asset(
        "raw_pool",
        lane=INGEST,
        kinds={"parquet"},
        description="One row per sample: id, where its bytes are, content hash, labels; accepted, or rejected and why.",
    )
    def raw_pool(context: dg.AssetExecutionContext, curation: CurationResource) -> dg.MaterializeResult:
        reader = curation.reader(graph.spec)

        def ingest(shard: Shard, writer: OutputWriter, report: Report) -> None:
            ingest_shard(reader, shard, graph.spec.source, writer)
            report(
                1.0, f"{writer.summary['n_accepted']:,} accepted, {writer.summary['n_rejected']:,} rejected"
            )

        return StepRun(context, curation, graph.spec, graph.steps["raw_pool"]).over_shards(ingest)

    return raw_pool
