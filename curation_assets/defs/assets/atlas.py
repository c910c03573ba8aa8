"""atlas: the pool as Apple's Embedding Atlas opens it."""

import dagster as dg

from curation_assets.defs.assets.base import REPORT, PoolGraph
from curation_assets.defs.metadata import picture
from curation_assets.defs.resources import CurationResource
from curation_assets.defs.run.step_run import Report, StepRun
from curation_assets.steps.dataset.atlas import atlas_command, export_atlas
from curation_assets.storage.outputs import OutputWriter
from curation_assets.storage.tables import Atlas


def build_atlas(graph: PoolGraph) -> dg.AssetsDefinition:
    """The asset that exports samples, their fates and a projection for visual exploration."""
    settings = graph.spec.atlas
    if settings is None:
        raise ValueError(f"pool '{graph.spec.name}' sets atlas: null, so it has no asset 'atlas'")

    @graph.asset(
        "atlas",
        lane=REPORT,
        kinds={"parquet", "scikitlearn"},
        description="Samples with clusters, fates, a 2-D projection and neighbours: one table that Embedding Atlas "
        "opens.",
    )
    def atlas(context: dg.AssetExecutionContext, curation: CurationResource) -> dg.MaterializeResult:
        run = StepRun(context, curation, graph.spec, graph.steps["atlas"])
        output = run.storage.atlas()

        def produce(writer: OutputWriter, report: Report) -> None:
            from curation_assets.report.projection import projection_scatter

            report(0.1, "projecting")
            table = export_atlas(graph.spec, settings, run.storage, curation.reader(graph.spec), writer)
            x, y = table[Atlas.X].to_numpy(), table[Atlas.Y].to_numpy()
            writer.file(Atlas.PICTURE).write_bytes(projection_scatter(x, y, table["fate"].to_list()))

        def metadata() -> dict[str, object]:
            return {
                "command": dg.MetadataValue.md(f"```\n{atlas_command(output, graph.spec)}\n```"),
                "projection": picture(
                    output.path(Atlas.PICTURE).read_bytes(), "the pool in the plane, by fate"
                ),
                "table": dg.MetadataValue.path(str(output.samples.path)),
            }

        return run.once(produce, extra_metadata=metadata)

    return atlas
