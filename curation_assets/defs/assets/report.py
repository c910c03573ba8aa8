"""curation_report: the page people look at."""

import dagster as dg

from curation_assets.defs.assets.base import REPORT, PoolGraph
from curation_assets.defs.metadata import picture
from curation_assets.defs.resources import CurationResource
from curation_assets.defs.run.step_run import Report, StepRun
from curation_assets.steps.report import gather_report
from curation_assets.storage.outputs import Output, OutputWriter
from curation_assets.storage.tables import CurationReport

_FIGURES = {
    "effective_numbers.png": "effective numbers of pool, random, flat k-means and balanced",
    "cluster_sizes.png": "cluster sizes by level",
    "label_balance.png": "labels in the pool and in the balanced subset",
    "random_sample.png": "a random subset",
    "balanced_sample.png": "the balanced subset",
}


def build_report(graph: PoolGraph) -> dg.AssetsDefinition:
    """The asset that renders the pool's report."""

    @graph.asset(
        "curation_report",
        lane=REPORT,
        kinds={"html"},
        description="What the pool looked like and what came out: one self-contained HTML page.",
    )
    def curation_report(
        context: dg.AssetExecutionContext, curation: CurationResource
    ) -> dg.MaterializeResult:
        run = StepRun(context, curation, graph.spec, graph.steps["curation_report"])

        def produce(writer: OutputWriter, report: Report) -> None:
            report(0.1, "gathering figures and pictures")
            write_report(graph, curation, run, writer)

        return run.once(produce, extra_metadata=lambda: _page_metadata(run.storage.output("curation_report")))

    return curation_report


def write_report(graph: PoolGraph, curation: CurationResource, run: StepRun, writer: OutputWriter) -> None:
    """Store the page, its figures as PNG, and the key figures."""
    from curation_assets.report import figures
    from curation_assets.report.page import render_report

    spec = graph.spec
    data = gather_report(spec, run.storage, curation.reader(spec), curation.evaluation_readers(spec))
    first = data.targets[0]
    writer.text(CurationReport.PAGE, render_report(data))
    writer.file("effective_numbers.png").write_bytes(figures.effective_numbers(first))
    writer.file("cluster_sizes.png").write_bytes(figures.cluster_size_curves(data.levels))
    if spec.modality == "image":
        writer.file("random_sample.png").write_bytes(figures.image_grid(first.random_sample, 12))
        writer.file("balanced_sample.png").write_bytes(figures.image_grid(first.balanced_sample, 12))
    if first.label_counts:
        writer.file("label_balance.png").write_bytes(figures.label_balance(first))
    writer.summary["fates"] = {fate.name: fate.n_samples for fate in data.fates}
    writer.summary["n_warnings"] = len(data.warnings)
    writer.summary["warnings"] = list(data.warnings)
    for subset in first.subsets:
        writer.summary[subset.name] = {
            "n_samples": subset.n_samples,
            "effective_labels": subset.effective_labels,
            "label_coverage": subset.label_coverage,
            "effective_top_clusters": subset.effective_clusters[len(data.levels)],
            "largest_share": subset.largest_share,
            "gini": subset.gini,
        }


def _page_metadata(output: Output) -> dict[str, object]:
    path = output.path(CurationReport.PAGE)
    facts = output.require_facts()
    pictures = {
        name.removesuffix(".png"): picture(output.path(name).read_bytes(), alt)
        for name, alt in _FIGURES.items()
        if name in facts.files
    }
    return {
        "report": dg.MetadataValue.path(str(path)),
        "open": dg.MetadataValue.url(path.as_uri()),
        **pictures,
    }
