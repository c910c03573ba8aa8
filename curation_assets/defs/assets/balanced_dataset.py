"""balanced_dataset: the selected samples, written out."""

import dagster as dg

from curation_assets.defs.assets.base import BALANCE, PoolGraph
from curation_assets.defs.resources import CurationResource
from curation_assets.defs.run.step_run import Report, StepRun
from curation_assets.formats import output_suffix
from curation_assets.steps.dataset.balanced_dataset import row_formats, write_dataset
from curation_assets.storage.outputs import OutputWriter
from curation_assets.storage.shards import Shard


def build_balanced_dataset(graph: PoolGraph) -> dg.AssetsDefinition:
    """The asset that writes each shard's selected samples as WebDataset tars or Parquet."""
    formats = row_formats(graph.spec)
    files = ", ".join(f"`<target>/<shard>.{output_suffix(output_format)}`" for output_format in formats)

    @graph.asset(
        "balanced_dataset",
        lane=BALANCE,
        kinds=set(formats),
        description=f"The selected samples of each shard: {files or 'only counted, as `outputs` holds none'}.",
    )
    def balanced_dataset(
        context: dg.AssetExecutionContext, curation: CurationResource
    ) -> dg.MaterializeResult:
        run = StepRun(context, curation, graph.spec, graph.steps["balanced_dataset"])
        reader = curation.reader(graph.spec)

        def produce(shard: Shard, writer: OutputWriter, report: Report) -> None:
            write_dataset(reader, shard, run.storage, graph.spec, writer)
            report(1.0, f"{sum(writer.summary['n_written'].values()):,} samples")

        return run.over_shards(produce)

    return balanced_dataset
