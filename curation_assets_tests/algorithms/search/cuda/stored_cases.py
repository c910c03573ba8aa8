"""Rows as pools store them, and what they are prepared to."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from curation_assets.algorithms.kmeans.uploads import Uploads
from curation_assets.algorithms.preprocessing import PreparedRows, Preprocessing, fit_preprocessing
from curation_assets.algorithms.rows import ArrayRows
from curation_assets.algorithms.search.cuda.compact import CompactBlock

PREPARATIONS = [("cosine", False), ("cosine", True), ("l2", False), ("l2", True)]
"""Metric, and whether the mean is taken away."""


def _zeros(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    rows = rng.normal(size=(n, d))
    rows[::2] = 0
    return rows


def _tight(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    return rng.normal(size=(1, d)) + 0.01 * rng.normal(size=(n, d))


CASES: dict[str, Callable[[np.random.Generator, int, int], np.ndarray]] = {
    "ordinary": lambda rng, n, d: rng.normal(size=(n, d)),
    "unit": lambda rng, n, d: rng.normal(size=(n, d)) / np.sqrt(d),
    "tight": _tight,
    "zeros": _zeros,
    "copies": lambda rng, n, d: rng.normal(size=(3, d))[rng.integers(3, size=n)],
    # The largest and the smallest numbers of float16, both signs, and zeros of both.
    "largest": lambda rng, n, d: 65504 * rng.choice([-1, 1], size=(n, d)) * rng.uniform(0.1, 1, size=(n, d)),
    "smallest": lambda rng, n, d: 2.0**-24 * rng.integers(-9, 10, size=(n, d)),
    "mixed": lambda rng, n, d: (
        2.0 ** rng.integers(-24, 16, size=(n, d)) * rng.choice([-1, 0, 1], size=(n, d))
    ),
    "whole": lambda rng, n, d: rng.integers(-2, 3, size=(n, d)).astype(float),
}


def stored_rows(name: str, n: int, d: int) -> np.ndarray:
    """Float16 (n, d)."""
    return CASES[name](np.random.default_rng(n + d), n, d).astype(np.float16)


def prepared_rows(stored: np.ndarray, metric: str, centring: bool) -> PreparedRows:
    """Rows as a fit reads them."""
    source = ArrayRows(stored)
    how: Preprocessing = fit_preprocessing(source, metric=metric, centring=centring)  # type: ignore[arg-type]
    return PreparedRows(source, how)


def compact(rows: PreparedRows, device: torch.device) -> CompactBlock:
    """The same rows on a device, as they are stored."""
    stored = rows.stored()
    assert stored is not None
    return Uploads(stored, device, 7).all()
