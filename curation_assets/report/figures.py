"""Plots of a curation as PNG bytes; the same values give the same bytes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from curation_assets.report import style
from curation_assets.report.data import LevelSummary, SampleView, TargetSummary


def cluster_size_curves(levels: Sequence[LevelSummary]) -> bytes:
    """Draws each level's cluster sizes from the largest to the smallest.

    Sizes are relative to their level's mean and ranks are percentages, so that levels with different numbers of
    clusters share one pair of axes. A level of equally large clusters is flat at 1. The finest level comes first.
    """
    figure = style.figure(11, 3.9)
    axes = figure.subplots()
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
    return style.png(figure)


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
    ranked = sorted(target.label_counts.items(), key=lambda item: (-item[1][0], item[0]))
    counts = np.array([row for _, row in ranked], dtype=np.float64).reshape(-1, 3)
    shares = 100 * counts / np.maximum(counts.sum(axis=0), 1)
    named = min(top, len(ranked))
    figure = style.figure(11, max(3.6, 1.0 + 0.215 * named))
    left, right = figure.subplots(1, 2, width_ratios=[1.25, 1])

    rows = np.arange(named)
    left.hlines(rows, shares[:named].min(axis=1), shares[:named].max(axis=1), color=style.GRID, linewidth=2.5)
    # The pool's ring stays visible around the dot of the random subset, which should be near its middle.
    markers: tuple[tuple[str, dict[str, Any]], ...] = (
        ("pool", {"marker": "o", "s": 46, "facecolors": "none", "linewidths": 1.4}),
        ("random", {"marker": "o", "s": 13}),
        ("balanced", {"marker": "D", "s": 26}),
    )
    for column, (name, marker) in enumerate(markers):
        colour = style.subset_colour(name)
        left.scatter(
            shares[:named, column],
            rows,
            label=name,
            zorder=3,
            **({"facecolors": colour, "edgecolors": colour} | marker),
        )
        present = np.sort(shares[shares[:, column] > 0, column])[::-1]
        right.plot(
            np.arange(1, present.size + 1),
            present,
            color=colour,
            linewidth=2.2 if name == "balanced" else 1.6,
            label=f"{name}: {present.size:,} {style.plural('label', present.size)}",
        )
    left.set_yticks(rows, [style.short(label) for label, _ in ranked[:named]], parse_math=False)
    left.set_ylim(named - 0.4, -0.6)
    left.set_xlim(left=0)
    title = f"The pool's {named:,} most frequent labels" if named < len(ranked) else "Every label"
    style.finish(left, "share of samples", "", grid="x", title=title)
    left.xaxis.set_major_formatter("{x:g}%")
    if shares.any():
        right.set(xscale="log", yscale="log")
    style.finish(
        right, "label rank within each set", "share of samples", grid="both", title="All labels by rank"
    )
    style.plain_ticks(right.xaxis, "{:,.0f}")
    style.plain_ticks(right.yaxis, "{:g}%")
    style.legend(left, loc="lower right")
    style.legend(right, loc="lower left")
    return style.png(figure)


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
