"""The plot of a probe: what is learnt from each kind of subset."""

from __future__ import annotations

from collections.abc import Sequence

from curation_assets.report import style
from curation_assets.report.comparison import ProbeSummary, subset_words

_PROBES = {
    "nearest_neighbour": ("nearest neighbour", "o", style.ACCENT, -0.14),
    "linear": ("linear", "D", style.subset_colour("flat k-means"), 0.14),
}
"""Name in the legend, marker, colour and shift of each."""


def probe_plot(probes: Sequence[ProbeSummary]) -> bytes:
    """Draws a panel for each target: a row for each kind of subset, with the accuracy of both probes and its spread."""
    n_panels = max(1, len(probes))
    most = max((len(probe.rows) for probe in probes), default=0)
    figure = style.figure(9, n_panels * (0.9 + 0.3 * max(3, most)))
    grid = figure.subplots(n_panels, 1, squeeze=False, sharex=True)
    for axes, probe in zip(grid.flat, probes, strict=False):
        for name, (words, marker, colour, shift) in _PROBES.items():
            if name not in probe.names:
                continue
            place = probe.names.index(name)
            drawn = [
                (i, value) for i, row in enumerate(probe.rows) if (value := row.figures[place]) is not None
            ]
            axes.errorbar(
                [100 * value.mean for _, value in drawn],
                [i + shift for i, _ in drawn],
                xerr=[100 * (value.spread or 0.0) for _, value in drawn],
                fmt=marker,
                color=colour,
                label=words,
                markersize=5,
                elinewidth=1.6,
            )
        style.finish(axes, "mean accuracy over the labels", "", grid="x", title=probe.target)
        axes.xaxis.set_major_formatter("{x:g}%")
        names = [subset_words(row.subset) + (" (the target)" if row.is_chosen else "") for row in probe.rows]
        axes.set_yticks(range(len(names)), names, parse_math=False)
        axes.set_ylim(max(1, len(names)) - 0.5, -0.5)
    if probes:
        style.legend(grid[0, 0], loc="lower right")
    return style.png(figure)
