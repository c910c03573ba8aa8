"""dataset_release: the targets in the form they are handed on in."""

import dagster as dg

from curation_assets.defs.assets.base import BALANCE, PoolGraph
from curation_assets.defs.resources import CurationResource
from curation_assets.defs.run.step_run import Report, StepRun
from curation_assets.steps.dataset.dataset_release import write_release
from curation_assets.storage.outputs import Output, OutputWriter


def build_dataset_release(graph: PoolGraph) -> dg.AssetsDefinition:
    """The asset that makes a folder of each target."""

    @graph.asset(
        "dataset_release",
        lane=BALANCE,
        kinds={"huggingface"},
        description="A folder per target: Parquet under `data/` for datasets.load_dataset, list of ids, weights, "
        "dataset card, manifest.",
    )
    def dataset_release(
        context: dg.AssetExecutionContext, curation: CurationResource
    ) -> dg.MaterializeResult:
        run = StepRun(context, curation, graph.spec, graph.steps["dataset_release"])

        def produce(writer: OutputWriter, report: Report) -> None:
            report(0.0, f"{len(graph.spec.targets)} targets")
            write_release(graph.spec, run.storage, writer)

        return run.once(produce, extra_metadata=lambda: _folders(run.storage.output("dataset_release")))

    return dataset_release


def _folders(output: Output) -> dict[str, object]:
    targets = sorted({name.partition("/")[0] for name in output.require_facts().files})
    return {f"{target}/folder": dg.MetadataValue.path(str(output.path(target))) for target in targets}
