"""Figures as SVG inside the page: their text and lines take the page's colours, so they follow its colour scheme.

A page shows one SVG for each panel, in a grid. On a narrow screen the panels stand below each other at the same size,
so their text stays readable.
"""

from __future__ import annotations

import io
import re
from collections.abc import Collection, Mapping
from html import escape
from typing import TYPE_CHECKING

from curation_assets.report import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANEL_WIDTH = 3.6
"""Inches: at 320 CSS pixels, the narrowest a panel gets, its text of 9 points has 11 pixels."""
_VARIABLES = {
    style.INK: "var(--ink)",
    style.MUTED: "var(--muted)",
    style.GRID: "var(--line)",
    style.ACCENT: "var(--accent)",
    style.subset_colour("random"): "var(--random)",
    style.subset_colour("flat k-means"): "var(--flat)",
    style.subset_colour("paper"): "var(--paper)",
    style.subset_colour("level"): "var(--level)",
}
_HEX = re.compile(r"#[0-9a-f]{6}\b")
_TAG = re.compile(r"<[^>]*>")
_LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}")
_EMPTY = re.compile(r"<g/>|<g>\s*</g>|<defs>\s*</defs>")
# Nothing is drawn outside its axes, so nothing needs to be clipped.
_REMOVED = re.compile(
    r"<metadata>.*?</metadata>|<style.*?</style>|<clipPath.*?</clipPath>|<!--.*?-->", flags=re.DOTALL
)


def panel(height: float) -> Figure:
    """Starts a figure for one panel, its height in inches."""
    return style.figure(PANEL_WIDTH, height)


def ramp_colours(n: int) -> dict[str, str]:
    """Returns, for each colour of `style.ramp(n)`, the colour of the page's scheme that takes its place."""
    from matplotlib.colors import to_hex

    shares = [100 * i / (n - 1) if n > 1 else 100 for i in range(n)]
    return {
        to_hex(colour): f"color-mix(in srgb, var(--coarse) {share:.0f}%, var(--fine))"
        for colour, share in zip(style.ramp(n), shares, strict=True)
    }


def svg(figure: Figure, name: str, label: str, colours: Mapping[str, str] | None = None) -> str:
    """Encodes a figure as an `svg` element; equal figures give equal text.

    Args:
        figure: Drawn with the colours of `style`.
        name: Unique on the page; begins the ids inside.
        label: What a reader who does not see the figure is told.
        colours: Further colours as #rrggbb, and what takes their place.
    """
    from matplotlib import rc_context

    buffer = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = _REMOVED.sub("", buffer.getvalue())
    text = text[text.index("<svg") :]
    [box] = re.findall(r'viewBox="[^"]*"', text[: text.index(">")])
    known = {**_VARIABLES, **(colours or {})}
    used = set(re.findall(r'xlink:href="#([^"]+)"', text))
    # Only tags are changed: texts may look like anything.
    body = _TAG.sub(lambda found: _tag(found[0], name, used, known), text[text.index(">") + 1 :])
    while (shorter := _EMPTY.sub("", body)) != body:
        body = shorter
    opening = f'<svg {box} role="img" aria-label="{escape(label)}">'
    return re.sub(r"\s*\n\s*", "\n", opening + body.strip())


def _tag(tag: str, name: str, used: Collection[str], colours: Mapping[str, str]) -> str:
    """A tag with the page's colours, short numbers, and ids that no other figure has."""
    tag = re.sub(r' clip-path="[^"]*"| transform="rotate\(-0 [^"]*"| ?font-family: [^;"]*;', "", tag)
    tag = re.sub(r' id="([^"]+)"', lambda found: f' id="{name}-{found[1]}"' if found[1] in used else "", tag)
    tag = re.sub(r'xlink:href="#([^"]+)"', lambda found: f'href="#{name}-{found[1]}"', tag)
    tag = _HEX.sub(lambda found: colours.get(found[0], found[0]), tag)
    return _LONG_NUMBER.sub(lambda found: f"{float(found[0]):.2f}".rstrip("0").rstrip("."), tag)
