"""The pool in the plane, coloured by the fate of each sample."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from curation_assets.report import style

# Drawn in this order, rare fates on top. Lightness differs too, for colour-blind readers.
_FATES = {
    "not_selected": ("#c3c7cd", 7),
    "selected": (style.ACCENT, 10),
    "duplicate": ("#d98e2b", 13),
    "contaminated": ("#a8323e", 20),
    "rejected": ("#2b2f36", 13),
}


def projection_scatter(x: np.ndarray, y: np.ndarray, fates: Sequence[str]) -> bytes:
    """Draws the projection, float (n,) each, one dot per sample; an unknown fate is drawn as `rejected`."""
    figure = style.figure(11, 6.6)
    axes = figure.subplots()
    kinds = np.array([fate if fate in _FATES else "rejected" for fate in fates], dtype=object)
    # Many dots are drawn smaller, so that they do not cover each other.
    scale = min(3.0, max(0.35, (2_000 / max(1, len(kinds))) ** 0.5))
    for fate, (colour, size) in _FATES.items():
        mine = kinds == fate
        if mine.any():
            name = f"{fate.replace('_', ' ')}  ({int(mine.sum()):,})"
            axes.scatter(x[mine], y[mine], s=size * scale, color=colour, linewidths=0, alpha=0.8, label=name)
    axes.set_xticks([])
    axes.set_yticks([])
    style.finish(axes, "", "", grid="")
    axes.spines["bottom"].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(
            loc="upper left",
            bbox_to_anchor=(1.0, 1.0),
            frameon=False,
            fontsize=style.FONT_POINTS,
            labelcolor=style.INK,
            markerscale=2.0 / scale,
        )
    return style.png(figure)
