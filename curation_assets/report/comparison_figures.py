"""Figures of the comparison and of the frontier: PNG for the UI, SVG panels for the page; equal values, equal bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from curation_assets.report import style, svg
from curation_assets.report.comparison import (
    CHOSEN,
    MEASURES,
    ComparisonSummary,
    FrontierLine,
    Key,
    subset_words,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANELS_PER_ROW = 4
_NAMES = {"paper": "paper's rule", CHOSEN: "chosen rule"}


def panel_title(key: Key) -> str:
    """Name of a measure with its label field."""
    name = MEASURES[key.measure].name
    return f"{name} ({key.field})" if key.field else name


def comparison_panels(comparison: ComparisonSummary) -> bytes:
    """Draws every measure in a panel of its own: a dot and its spread per subset, a line at the best baseline."""
    keys, subsets = comparison.keys, comparison.subsets
    figure, panels = _panels(len(keys), 0.75 + 0.24 * max(3, len(subsets)), sharey=True)
    for axes, key in zip(panels, keys, strict=False):
        _draw_measure(axes, comparison, key)
    if keys:
        panels[0].set_ylim(len(subsets) - 0.4, -0.6)
    return style.png(figure)


def comparison_svgs(comparison: ComparisonSummary, name: str) -> list[str]:
    """Returns `comparison_panels` one by one; see `svg.svg` for the name."""
    found = []
    for number, key in enumerate(comparison.keys):
        figure = svg.panel(0.75 + 0.22 * max(3, len(comparison.subsets)))
        axes = figure.subplots()
        _draw_measure(axes, comparison, key)
        axes.set_ylim(len(comparison.subsets) - 0.4, -0.6)
        label = f"{panel_title(key)}: a dot with its spread for each subset; the table has the figures."
        found.append(svg.svg(figure, f"{name}-{number}", label))
    return found


def _draw_measure(axes: Axes, comparison: ComparisonSummary, key: Key) -> None:
    subsets = comparison.subsets
    rows = range(len(subsets))
    best = comparison.subset(comparison.best_baseline(key) or "")
    if best:
        axes.axvline(
            best.figures[key].mean,
            color=style.subset_colour(best.name),
            linewidth=1,
            linestyle=(0, (3, 2)),
        )
    for row, subset in zip(rows, subsets, strict=True):
        if (value := subset.figures.get(key)) is not None:
            axes.errorbar(
                value.mean,
                row,
                xerr=value.spread or 0.0,
                fmt="D" if subset.name == CHOSEN else "o",
                markersize=6 if subset.name == CHOSEN else 5,
                color=_colour(subset.name),
                elinewidth=1.6,
            )
    style.finish(axes, "", "", grid="y", title=style.short(panel_title(key)))
    axes.locator_params(axis="x", nbins=4)
    if MEASURES[key.measure].form == "percent":
        axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f}%")
    axes.margins(x=0.12)
    names = [subset_words(subset.name) for subset in subsets]
    axes.set_yticks(list(rows), names, parse_math=False)


def frontier_curves(lines: Sequence[FrontierLine]) -> bytes:
    """Draws every measure against the size of the subset, with its spread, one line per way to draw."""
    by_key = _lines_by_key(lines)
    figure, panels = _panels(len(by_key), 2.5)
    for number, (axes, (key, mine)) in enumerate(zip(panels, by_key.items(), strict=False)):
        _draw_by_size(axes, key, mine, with_legend=not number)
    return style.png(figure)


def frontier_svgs(lines: Sequence[FrontierLine], name: str) -> list[str]:
    """Returns `frontier_curves` one by one; see `svg.svg` for the name."""
    found = []
    for number, (key, mine) in enumerate(_lines_by_key(lines).items()):
        figure = svg.panel(2.4)
        _draw_by_size(figure.subplots(), key, mine, with_legend=True)
        label = f"{panel_title(key)} by the size of the subset, one line for each way to draw."
        found.append(svg.svg(figure, f"{name}-{number}", label))
    return found


def _lines_by_key(lines: Sequence[FrontierLine]) -> dict[Key, list[FrontierLine]]:
    """Lines of each measure, measures of labels first."""
    order = list(MEASURES)
    keys = sorted(
        dict.fromkeys(line.key for line in lines),
        key=lambda key: (key.field is None, order.index(key.measure) if not key.field else 0),
    )
    return {key: [line for line in lines if line.key == key] for key in keys}


def _draw_by_size(axes: Axes, key: Key, lines: Sequence[FrontierLine], *, with_legend: bool) -> None:
    for line in lines:
        means = [value.mean for value in line.figures]
        spreads = [value.spread or 0.0 for value in line.figures]
        colour = style.subset_colour(line.subset)
        name = _NAMES.get(line.subset, line.subset)
        axes.plot(line.sizes, means, color=colour, marker="o", markersize=3, linewidth=1.6, label=name)
        low = [mean - spread for mean, spread in zip(means, spreads, strict=True)]
        high = [mean + spread for mean, spread in zip(means, spreads, strict=True)]
        axes.fill_between(line.sizes, low, high, color=colour, alpha=0.18, linewidth=0)
    axes.set_xscale("log")
    style.finish(axes, "samples", "", grid="both", title=style.short(panel_title(key)))
    style.plain_ticks(axes.xaxis, "{:,.0f}")
    if MEASURES[key.measure].form == "percent":
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f}%")
    if with_legend:
        style.legend(axes, loc="lower right")


def _panels(n_panels: int, height: float, *, sharey: bool = False) -> tuple[Figure, list[Axes]]:
    """A figure with rows of panels, the unused ones blank."""
    n_columns = max(1, min(n_panels, _PANELS_PER_ROW))
    n_rows = max(1, -(-n_panels // n_columns))
    figure = style.figure(11, height * n_rows)
    grid = figure.subplots(n_rows, n_columns, squeeze=False, sharey=sharey)
    panels = list(grid.flat)
    for axes in panels[n_panels:]:
        axes.set_axis_off()
    return figure, panels


def _colour(name: str) -> str:
    return style.subset_colour("level" if name.startswith("level_") else name)
