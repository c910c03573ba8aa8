"""Plots of a curation: PNG for the UI, SVG panels for the page. The same values give the same bytes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps

from curation_assets.report import style, svg
from curation_assets.report.data import LevelSummary, SampleView, TargetSummary

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SETS = ("pool", "random", "balanced")
_NARROW_LABEL = 22
"""Characters of a label beside the axis of a narrow panel."""


def cluster_size_curves(levels: Sequence[LevelSummary]) -> bytes:
    """Draws each level's cluster sizes from the largest to the smallest.

    Sizes are relative to their level's mean and ranks are percentages, so that levels with different numbers of
    clusters share one pair of axes. A level of equally large clusters is flat at 1. The finest level comes first.
    """
    figure = style.figure(11, 3.9)
    _draw_sizes(figure.subplots(), levels)
    return style.png(figure)


def cluster_size_svg(levels: Sequence[LevelSummary], name: str) -> str:
    """Returns `cluster_size_curves` as a panel of the page; see `svg.svg` for the name."""
    figure = svg.panel(2.7)
    _draw_sizes(figure.subplots(), levels)
    label = "Cluster sizes of each level relative to their mean, from the largest cluster to the smallest."
    return svg.svg(figure, name, label, svg.ramp_colours(len(levels)))


def _draw_sizes(axes: Axes, levels: Sequence[LevelSummary]) -> None:
    axes.axhline(1, color=style.MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
    colours = style.ramp(len(levels))
    for level, colour in zip(levels, colours, strict=True):
        # Logarithmic axes have no zero: the curve of a level with empty clusters ends before 100 %.
        sizes = np.sort(level.sizes[level.sizes > 0])[::-1]
        if not sizes.size:
            continue
        ranks = 100 * np.arange(1, sizes.size + 1) / level.sizes.size
        name = f"level {level.level}  ({level.sizes.size:,} {style.plural('cluster', level.sizes.size)})"
        marker = "o" if sizes.size <= 40 else ""
        axes.plot(ranks, sizes / level.sizes.mean(), color=colour, label=name, marker=marker, markersize=3.5)
    axes.set(xscale="log", yscale="log")
    style.finish(
        axes, "clusters, largest first (% of the level)", "size / mean size of the level", grid="both"
    )
    style.plain_ticks(axes.xaxis, "{:g}%")
    style.plain_ticks(axes.yaxis, "{:g}\u00d7")
    style.legend(axes, loc="upper right")


def label_balance(target: TargetSummary, top: int = 24) -> bytes:
    """Draws how often labels occur in the pool, in a random subset and in the balanced subset.

    On the left the pool's most frequent labels by name, on the right all labels by rank.

    Args:
        target: A target with `label_counts`; without them the plot is blank.
        top: How many labels to name.

    Raises:
        ValueError: If `top` is below 1.
    """
    if top < 1:
        raise ValueError(f"top is {top}: choose 1 or more labels")
    labels, shares = _ranked_labels(target)
    named = min(top, len(labels))
    figure = style.figure(11, max(3.6, 1.0 + 0.215 * named))
    left, right = figure.subplots(1, 2, width_ratios=[1.25, 1])
    _draw_named_labels(left, [style.short(label) for label in labels[:named]], shares)
    _draw_label_ranks(right, shares)
    return style.png(figure)


def label_balance_svgs(target: TargetSummary, name: str, top: int = 24) -> list[str]:
    """Returns the two halves of `label_balance` as panels of the page; see `svg.svg` for the name."""
    labels, shares = _ranked_labels(target)
    short = [style.short(label, _NARROW_LABEL) for label in labels[:top]]
    left = svg.panel(0.9 + 0.185 * max(8, len(short)))
    _draw_named_labels(left.subplots(), short, shares)
    right = svg.panel(2.7)
    _draw_label_ranks(right.subplots(), shares)
    sets = "in the pool, in a random subset and in the balanced subset"
    return [
        svg.svg(left, f"{name}-named", f"Shares of the most frequent labels {sets}."),
        svg.svg(right, f"{name}-ranks", f"Shares of all labels by rank {sets}."),
    ]


def _ranked_labels(target: TargetSummary) -> tuple[list[str], np.ndarray]:
    """Labels, the pool's most frequent first, and their percentages in the pool, random and balanced subset."""
    ranked = sorted(target.label_counts.items(), key=lambda item: (-item[1][0], item[0]))
    counts = np.array([row for _, row in ranked], dtype=np.float64).reshape(-1, 3)
    return [label for label, _ in ranked], 100 * counts / np.maximum(counts.sum(axis=0), 1)


def _draw_named_labels(axes: Axes, labels: Sequence[str], shares: np.ndarray) -> None:
    named = len(labels)
    rows = np.arange(named)
    axes.hlines(rows, shares[:named].min(axis=1), shares[:named].max(axis=1), color=style.GRID, linewidth=2.5)
    # The pool's ring stays visible around the dot of the random subset, which should be near its middle.
    markers: tuple[dict[str, Any], ...] = (
        {"marker": "o", "s": 46, "facecolors": "none", "linewidths": 1.4},
        {"marker": "o", "s": 13},
        {"marker": "D", "s": 26},
    )
    for column, (name, marker) in enumerate(zip(_SETS, markers, strict=True)):
        colour = style.subset_colour(name)
        axes.scatter(
            shares[:named, column],
            rows,
            label=name,
            zorder=3,
            **({"facecolors": colour, "edgecolors": colour} | marker),
        )
    axes.set_yticks(rows, labels, parse_math=False)
    axes.set_ylim(named - 0.4, -0.6)
    axes.set_xlim(left=0)
    title = f"{named:,} most frequent labels" if named < len(shares) else "Every label"
    style.finish(axes, "share of samples", "", grid="x", title=title)
    axes.xaxis.set_major_formatter("{x:g}%")
    style.legend(axes, loc="lower right")


def _draw_label_ranks(axes: Axes, shares: np.ndarray) -> None:
    for column, name in enumerate(_SETS):
        present = np.sort(shares[shares[:, column] > 0, column])[::-1]
        axes.plot(
            np.arange(1, present.size + 1),
            present,
            color=style.subset_colour(name),
            linewidth=2.2 if name == "balanced" else 1.6,
            label=f"{name}: {present.size:,} {style.plural('label', present.size)}",
        )
    if shares.any():
        axes.set(xscale="log", yscale="log")
    style.finish(
        axes, "label rank within each set", "share of samples", grid="both", title="All labels by rank"
    )
    style.plain_ticks(axes.xaxis, "{:,.0f}")
    style.plain_ticks(axes.yaxis, "{:g}%")
    style.legend(axes, loc="lower left")


def inertia_curve(inertias: Sequence[Sequence[float]]) -> bytes:
    """Draws the inertia after each iteration, one line per fit, from the first fit (light) to the last (dark)."""
    figure = style.figure(7.5, 3.6)
    axes = figure.subplots()
    for index, (values, colour) in enumerate(zip(inertias, style.ramp(len(inertias)), strict=True)):
        marker = "o" if len(values) <= 40 else ""
        # With more than six fits, the legend names only the first and the last.
        named = len(inertias) <= 6 or index in (0, len(inertias) - 1)
        label = f"fit {index + 1}" if named else "_"
        axes.plot(range(1, len(values) + 1), values, color=colour, marker=marker, markersize=3, label=label)
    finite = [value for values in inertias for value in values if np.isfinite(value)]
    if finite and min(finite) > 0 and max(finite) > 30 * min(finite):
        axes.set_yscale("log")
    longest = max((len(values) for values in inertias), default=1)
    # Otherwise a fit of one iteration is drawn between ticks at 0.98 and 1.02.
    axes.set_xlim(0.5, max(longest, 2) + 0.5)
    axes.locator_params(axis="x", integer=True)
    style.finish(axes, "iteration", "inertia", grid="y")
    if len(inertias) > 1:
        style.legend(axes, loc="upper right")
    return style.png(figure)


def image_grid(views: Sequence[SampleView], columns: int, side: int = 64) -> bytes:
    """Arranges the pictures of samples in rows on white, each scaled into its square without distortion.

    Args:
        views: In reading order; views without a picture are skipped. Without any, the row is blank.
        columns: Squares per row.
        side: Width and height of a square, in pixels.

    Raises:
        ValueError: If `columns` or `side` is below 1.
    """
    if columns < 1 or side < 1:
        raise ValueError(f"columns is {columns} and side is {side}: choose 1 or more for both")
    gap = 4
    pictures = [view.picture for view in views if view.picture is not None]
    n_rows = max(1, -(-len(pictures) // columns))
    sheet = Image.new("RGB", (columns * (side + gap) + gap, n_rows * (side + gap) + gap), "white")
    for index, encoded in enumerate(pictures):
        with Image.open(io.BytesIO(encoded)) as picture:
            square = ImageOps.pad(picture.convert("RGBA"), (side, side), color=(255, 255, 255, 0))
        row, column = divmod(index, columns)
        corner = (gap + column * (side + gap), gap + row * (side + gap))
        sheet.paste(square, corner, mask=square)
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
