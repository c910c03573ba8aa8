"""Word-sized line charts as SVG, small enough for the Dagster UI to show inline."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import numpy as np

_MARKDOWN_LIMIT = 1000
_CAPTION_CHARACTERS = 200
# Readable on a white page and on a dark one.
_COLOUR = "#2a8fa8"
_MARGIN = 3
_WIDTH, _HEIGHT = 120, 24


def sparkline_markdown(values: Sequence[float], caption: str) -> str:
    """A line without axes, its last value marked, as a Markdown image below 1000 characters.

    The Dagster UI renders Markdown of that length inline and hides longer text behind a click.

    Args:
        values: Values that are not finite are skipped. Long series keep the extremes of each stretch.
        caption: The image's alternative text; shortened to fit.
    """
    text = " ".join(caption.split())
    for character in "\\[]`*_!<&":
        text = text.replace(character, "\\" + character)
    if len(text) > _CAPTION_CHARACTERS:
        # A backslash at the end would escape the closing bracket.
        text = text[: _CAPTION_CHARACTERS - 1].rstrip("\\") + "…"
    markdown = ""
    for max_points in (32, 24, 16, 8):
        payload = base64.b64encode(_draw(values, max_points).encode()).decode()
        markdown = f"![{text}](data:image/svg+xml;base64,{payload})"
        # The UI counts UTF-16 units, as JavaScript does: an emoji counts as two.
        if len(markdown.encode("utf-16-le")) // 2 < _MARKDOWN_LIMIT:
            break
    return markdown


def _draw(values: Sequence[float], max_points: int) -> str:
    series = np.asarray(values, dtype=np.float64)
    series = series[np.isfinite(series)]
    shapes = ""
    if series.size:
        kept = _landmarks(series, max_points)
        # Dividing first avoids overflow near the largest float.
        scaled = series[kept] / max(float(np.abs(series).max()), np.finfo(np.float64).tiny)
        span = np.ptp(scaled)
        heights = (scaled - scaled.min()) / span if span > 0 else np.full(kept.size, 0.5)
        xs = _MARGIN + kept / max(series.size - 1, 1) * (_WIDTH - 2 * _MARGIN)
        ys = _HEIGHT - _MARGIN - heights * (_HEIGHT - 2 * _MARGIN)
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs, ys, strict=True))
        shapes = f'<polyline points="{points}" fill="none" stroke="{_COLOUR}" stroke-width="1.5"/>'
        shapes += f'<circle cx="{xs[-1]:.1f}" cy="{ys[-1]:.1f}" r="2" fill="{_COLOUR}"/>'
    size = f'width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{shapes}</svg>'


def _landmarks(series: np.ndarray, max_points: int) -> np.ndarray:
    """Returns the positions of the ends and of each stretch's extremes, at most `max_points`."""
    if series.size <= max_points:
        return np.arange(series.size)
    kept = {0, series.size - 1}
    for stretch in np.array_split(np.arange(series.size), (max_points - 2) // 2):
        kept |= {int(stretch[series[stretch].argmin()]), int(stretch[series[stretch].argmax()])}
    return np.array(sorted(kept))
