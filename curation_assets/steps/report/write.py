"""curation_report: the page that people look at, its figures as files, and the key figures."""

from __future__ import annotations

from curation_assets.report.data import ReportData
from curation_assets.steps.context import StepContext
from curation_assets.steps.report.gather import gather_report
from curation_assets.storage.outputs import OutputWriter
from curation_assets.storage.tables import CurationReport


def write_report(step: StepContext) -> None:
    """Store the page, its figures as PNG, and the key figures."""
    from curation_assets.report.page import render_report

    step.report(0.1, "gathering figures and pictures")
    data = gather_report(step.spec, step.storage, step.pool.reader, step.pool.evaluation_readers)
    step.writer.text(CurationReport.PAGE, render_report(data))
    _write_figures(data, step.writer, with_images=step.spec.modality == "image")
    summary = step.writer.summary
    summary["fates"] = {fate.name: fate.n_samples for fate in data.fates}
    summary["n_warnings"] = len(data.warnings)
    summary["warnings"] = list(data.warnings)
    summary["verdicts"] = {
        target.name: target.comparison.verdict.sentence for target in data.targets if target.comparison
    }


def _write_figures(data: ReportData, writer: OutputWriter, *, with_images: bool) -> None:
    from curation_assets.report import comparison_figures, figures

    first = data.targets[0]
    if first.comparison:
        writer.file("comparison.png").write_bytes(comparison_figures.comparison_panels(first.comparison))
    if data.frontier:
        writer.file("frontier.png").write_bytes(comparison_figures.frontier_curves(data.frontier))
    writer.file("cluster_sizes.png").write_bytes(figures.cluster_size_curves(data.levels))
    if with_images:
        writer.file("random_sample.png").write_bytes(figures.image_grid(first.random_sample, 12))
        writer.file("balanced_sample.png").write_bytes(figures.image_grid(first.balanced_sample, 12))
    if first.label_counts:
        writer.file("label_balance.png").write_bytes(figures.label_balance(first))
