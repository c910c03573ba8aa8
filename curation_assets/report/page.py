"""The curation report as one self-contained HTML file: no script, no font, no request."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
from markupsafe import Markup

from curation_assets.report import comparison_figures, figures
from curation_assets.report.comparison_view import (
    ComparisonView,
    start_level_sentence,
    view_comparison,
    view_probe,
)
from curation_assets.report.data import ReportData, TargetSummary
from curation_assets.report.formatting import FILTERS

_HEADING = re.compile(r'<h2 id="([^"]+)">(.*?)</h2>')
_CONTENTS = Markup("<!-- contents -->")
"""Where the list of sections goes; no text of the data contains it, since those are escaped."""


@dataclass(frozen=True, slots=True)
class TargetView:
    """A target as the template shows it."""

    summary: TargetSummary
    comparison: ComparisonView | None
    verdict: str
    costs: Sequence[str]
    start: str
    """Where its quotas start, and why."""
    label_balance: Sequence[str]
    """SVG panels; none without labels."""
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
    page = environment.get_template("report.html.j2").render(
        data=data,
        targets=[_view(target, f"target-{i}") for i, target in enumerate(data.targets, start=1)],
        size_curves=[figures.cluster_size_svg(data.levels, "levels")] if data.levels else [],
        settings=list(_flatten(data.settings)),
        counts_tokens=any(target.n_tokens is not None for target in data.targets),
        frontier=comparison_figures.frontier_svgs(data.frontier, "frontier"),
        probes=[(probe, view_probe(probe)) for probe in data.probes],
        contents=_CONTENTS,
    )
    # From the headings that were rendered, so that the list cannot differ from them; their texts are escaped.
    entries = [f'<li><a href="#{place}">{title}</a></li>' for place, title in _HEADING.findall(page)]
    return page.replace(_CONTENTS, "\n".join(entries))


def _view(target: TargetSummary, name: str) -> TargetView:
    compared = target.comparison
    return TargetView(
        summary=target,
        comparison=view_comparison(compared, f"{name}-measure") if compared else None,
        verdict=compared.verdict.sentence
        if compared
        else f"A subset of {target.size:,} samples, not yet compared with others.",
        costs=compared.verdict.costs if compared else (),
        start=start_level_sentence(target.balance_from, target.start_levels),
        label_balance=figures.label_balance_svgs(target, f"{name}-labels") if target.label_counts else (),
        n_shown=min(len(target.random_sample), len(target.balanced_sample)),
    )


def _flatten(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in settings.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from _flatten(value, f"{name}.")
        elif isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value):
            yield from _flatten({str(index): item for index, item in enumerate(value)}, f"{name}.")
        else:
            yield name, str(value)
