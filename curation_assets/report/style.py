"""The look that all figures share: colours, type and axes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

INK = "#2b2f36"
MUTED = "#6b717b"
GRID = "#e3e4e2"
ACCENT = "#17637d"
FONT_POINTS = 9
# Greys for the baselines, so that the balanced subset stands out; lightness differs too, for colour-blind readers and
# for printers.
_SUBSETS = {
    "pool": "#2b2f36",
    "random": "#8b919b",
    "flat k-means": "#c98a3d",
    "paper": "#9a7fb0",
    "balanced": ACCENT,
    "chosen": ACCENT,
}
_OTHER_SUBSET = "#7fa8b5"
# From fine to coarse levels, or from the first fit to the last.
_RAMP = ((0.0, 0x9DB6C1), (0.5, 0x4A8FA6), (1.0, 0x0B3D50))
_LABEL_CHARACTERS = 30
_DOTS_PER_INCH = 144


def subset_colour(name: str) -> str:
    """Returns the colour of a subset in every figure."""
    return _SUBSETS.get(name, _OTHER_SUBSET)


def ramp(n: int) -> Sequence[tuple[float, float, float]]:
    """Returns `n` colours from light to dark; a single one is dark."""
    stops = [stop for stop, _ in _RAMP]
    positions = np.linspace(0, 1, n) if n > 1 else np.ones(n)
    channels = [
        np.interp(positions, stops, [(colour >> shift & 255) / 255 for _, colour in _RAMP])
        for shift in (16, 8, 0)
    ]
    return [(float(red), float(green), float(blue)) for red, green, blue in zip(*channels, strict=True)]


def figure(width: float, height: float) -> Figure:
    """Starts a figure, its size in inches; the page shows an inch as about 96 CSS pixels."""
    # Not pyplot, which keeps figures in global state and chooses a backend from the environment.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=_DOTS_PER_INCH, facecolor="white", layout="constrained")


def png(figure: Figure) -> bytes:
    """Encodes a figure without date and software version, so that equal figures have equal bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def finish(axes: Axes, x: str, y: str, *, grid: str, title: str = "") -> None:
    """Labels the axes and keeps only the lines that help to read values.

    Args:
        axes: Their scales are set already.
        x: Name of the horizontal axis.
        y: Name of the vertical axis.
        grid: `x`, `y`, `both`, or an empty string for none.
        title: Above the axes, on the left.
    """
    axes.set_xlabel(x, color=MUTED, fontsize=FONT_POINTS)
    axes.set_ylabel(y, color=MUTED, fontsize=FONT_POINTS)
    axes.set_title(title, loc="left", fontsize=FONT_POINTS + 1, color=INK, fontweight="bold")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(MUTED)
    axes.tick_params(colors=INK, labelsize=FONT_POINTS, length=0, which="both")
    axes.set_axisbelow(True)
    for axis, name in ((axes.xaxis, "x"), (axes.yaxis, "y")):
        if grid in (name, "both"):
            axis.grid(visible=True, which="major", color=GRID, linewidth=0.8)


def plain_ticks(axis: Axis, template: str) -> None:
    """Writes the ticks of a logarithmic axis as plain numbers instead of powers of ten."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: template.format(value)))
    axis.set_minor_formatter(NullFormatter())


def legend(axes: Axes, loc: Literal["upper right", "lower right", "lower left"]) -> None:
    """Adds a frameless legend if anything in the axes has a label."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc=loc, frameon=False, fontsize=FONT_POINTS, labelcolor=INK)


def short(label: str, characters: int = _LABEL_CHARACTERS) -> str:
    """Returns a label on one line, shortened to fit beside an axis."""
    text = " ".join(label.split())
    return text if len(text) <= characters else text[: characters - 1] + "…"


def plural(noun: str, count: int) -> str:
    """Returns the noun in the form that follows the count."""
    return noun if count == 1 else noun + "s"
