"""The curation report as one self-contained HTML file: no script, no font, no request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2

from curation_assets.report import figures
from curation_assets.report.data import ReportData, SubsetMetrics, TargetSummary
from curation_assets.report.formatting import FILTERS, decimal, image_source

# A smaller relative change is not evidence that balancing worked.
_NOTABLE_GAIN = 0.05


@dataclass(frozen=True, slots=True)
class Headline:
    """The result of one target in the most telling measure."""

    measure: str
    pool: float | None
    random: float
    balanced: float

    @property
    def gain(self) -> float:
        """Relative change from the random subset to the balanced one."""
        return self.balanced / self.random - 1 if self.random else 0.0

    @property
    def widest(self) -> float:
        """The largest of the values, for bars on a common scale."""
        return max(self.pool or 0.0, self.random, self.balanced, 1e-9)


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One metric of every subset."""

    name: str
    explanation: str
    form: str
    """The template filter that writes the values."""
    values: Sequence[float | None]
    change: float | None
    """Relative change from the random subset to the balanced one, where both are known."""


@dataclass(frozen=True, slots=True)
class TargetView:
    """A target as the template shows it."""

    summary: TargetSummary
    headline: Headline | None
    verdict: str
    rows: Sequence[MetricRow]
    effective_numbers: str
    label_balance: str | None
    n_shown: int
    """Samples in each of the two samples side by side."""


def render_report(data: ReportData) -> str:
    """Renders the report.

    The page contains its images and styles, and a content security policy forbids every request: it can be mailed,
    archived and opened offline. Captions, labels and settings are escaped. Equal data give an equal page.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("curation_assets.report", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters.update(FILTERS)
    return environment.get_template("report.html.j2").render(
        data=data,
        targets=[_view(target) for target in data.targets],
        size_curves=image_source(figures.cluster_size_curves(data.levels)) if data.levels else None,
        settings=list(_flatten(data.settings)),
        counts_tokens=any(target.n_tokens is not None for target in data.targets),
    )


def _view(target: TargetSummary) -> TargetView:
    headline = _headline(target)
    return TargetView(
        summary=target,
        headline=headline,
        verdict=_verdict(headline, target.size),
        rows=_metric_rows(target),
        effective_numbers=image_source(figures.effective_numbers(target)),
        label_balance=image_source(figures.label_balance(target)) if target.label_counts else None,
        n_shown=min(len(target.random_sample), len(target.balanced_sample)),
    )


def _headline(target: TargetSummary) -> Headline | None:
    subsets = {subset.name: subset for subset in target.subsets}
    pool, random, balanced = (subsets.get(name) for name in ("pool", "random", "balanced"))
    if random is None or balanced is None:
        return None
    if random.effective_labels is not None and balanced.effective_labels is not None:
        in_pool = pool.effective_labels if pool else None
        return Headline("labels", in_pool, random.effective_labels, balanced.effective_labels)
    shared = set(random.effective_clusters) & set(balanced.effective_clusters)
    if not shared:
        return None
    top = max(shared)
    return Headline(
        f"level-{top} clusters",
        pool.effective_clusters.get(top) if pool else None,
        random.effective_clusters[top],
        balanced.effective_clusters[top],
    )


def _verdict(headline: Headline | None, size: int) -> str:
    if headline is None:
        return f"A subset of {size:,} samples, without a random subset for comparison."
    change = (
        f"the effective number of {headline.measure} is {decimal(headline.balanced)}, against "
        f"{decimal(headline.random)} in a random subset of the same size ({size:,} samples)."
    )
    if headline.gain >= _NOTABLE_GAIN:
        return f"Balancing worked: {change}"
    if headline.gain > -_NOTABLE_GAIN:
        return f"Balancing changed little: {change}"
    return f"Balancing made it worse: {change}"


def _metric_rows(target: TargetSummary) -> list[MetricRow]:
    subsets = target.subsets
    names = [subset.name for subset in subsets]

    def row(name: str, explanation: str, form: str, values: Sequence[float | None]) -> MetricRow:
        by_name = dict(zip(names, values, strict=True))
        before, after = by_name.get("random"), by_name.get("balanced")
        change = after / before - 1 if before and after is not None else None
        return MetricRow(name, explanation, form, values, change)

    rows = []
    if _any(subsets, "effective_labels"):
        explanation = "Number of equally frequent labels with the same diversity; higher is better."
        values = [subset.effective_labels for subset in subsets]
        rows.append(row("Effective number of labels", explanation, "decimal", values))
    if _any(subsets, "label_coverage"):
        explanation = "Share of the pool's labels that occur at least once; higher is better."
        rows.append(
            row("Label coverage", explanation, "percent", [subset.label_coverage for subset in subsets])
        )
    depths = sorted({level for subset in subsets for level in subset.effective_clusters}, reverse=True)
    for position, level in enumerate(depths):
        first = "Number of equally large clusters with the same diversity; higher is better."
        explanation = first if position == 0 else "The same, for finer clusters."
        counts = [subset.effective_clusters.get(level) for subset in subsets]
        rows.append(row(f"Effective clusters, level {level}", explanation, "decimal", counts))
    explanation = "Share of samples in the largest top-level cluster; lower is better."
    rows.append(
        row("Largest cluster's share", explanation, "percent", [subset.largest_share for subset in subsets])
    )
    explanation = "Inequality of top-level cluster sizes: 0 if equal, near 1 if one has all samples."
    rows.append(row("Gini coefficient", explanation, "ratio", [subset.gini for subset in subsets]))
    return rows


def _any(subsets: Sequence[SubsetMetrics], attribute: str) -> bool:
    return any(getattr(subset, attribute) is not None for subset in subsets)


def _flatten(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in settings.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from _flatten(value, f"{name}.")
        elif isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value):
            yield from _flatten({str(index): item for index, item in enumerate(value)}, f"{name}.")
        else:
            yield name, str(value)
