"""admitted: what is left of a shard once contaminated samples and duplicates are set aside."""

import dagster as dg

from curation_assets.defs.assets.base import INGEST, PoolGraph
from curation_assets.defs.resources import CurationResource
from curation_assets.defs.run.step_run import Report, StepRun
from curation_assets.steps.cleaning.admitted import admit_shard
from curation_assets.storage.outputs import OutputWriter
from curation_assets.storage.shards import Shard


def build_admitted(graph: PoolGraph) -> dg.AssetsDefinition:
    """The asset that says which embedded rows of each shard the tree may see."""

    @graph.asset(
        "admitted",
        lane=INGEST,
        kinds={"numpy", "parquet"},
        description="Rows that the tree is fitted on and drawn from; every other with its twin and similarity.",
    )
    def admitted(context: dg.AssetExecutionContext, curation: CurationResource) -> dg.MaterializeResult:
        run = StepRun(context, curation, graph.spec, graph.steps["admitted"])

        def produce(shard: Shard, writer: OutputWriter, report: Report) -> None:
            admit_shard(graph.spec, run.storage, shard.key, writer)
            report(1.0, f"{writer.summary['n_rows']:,} rows, {writer.summary['n_excluded']:,} excluded")

        return run.over_shards(produce)

    return admitted
