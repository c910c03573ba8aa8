"""Figures of the comparison and of the frontier as PNG bytes; the same values give the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from curation_assets.report import style
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
    rows = range(len(subsets))
    for axes, key in zip(panels, keys, strict=False):
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
    if keys:
        panels[0].set_ylim(len(subsets) - 0.4, -0.6)
    return style.png(figure)


def frontier_curves(lines: Sequence[FrontierLine]) -> bytes:
    """Draws every measure against the size of the subset, with its spread, one line per way to draw."""
    by_key: dict[Key, list[FrontierLine]] = {}
    for line in lines:
        by_key.setdefault(line.key, []).append(line)
    order = list(MEASURES)
    keys = sorted(
        by_key, key=lambda key: (key.field is None, order.index(key.measure) if not key.field else 0)
    )
    figure, panels = _panels(len(keys), 2.5)
    for number, (axes, key) in enumerate(zip(panels, keys, strict=False)):
        for line in by_key[key]:
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
        if not number:
            style.legend(axes, loc="lower right")
    return style.png(figure)


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
