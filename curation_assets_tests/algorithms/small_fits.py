"""Small clustered inputs of fits, and a choice for each way to search."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from curation_assets.algorithms.preprocessing import PreparedRows, fit_preprocessing
from curation_assets.algorithms.rows import ArrayRows
from curation_assets.algorithms.search.choose import Choice
from curation_assets.algorithms.search.cpu.sketch import SketchKind


def prepared(x: np.ndarray, metric: str = "l2") -> PreparedRows:
    source = ArrayRows(x.astype(np.float32))
    return PreparedRows(source, fit_preprocessing(source, metric=metric, centring=False))  # type: ignore[arg-type]


def blobs(seed: int, n: int = 600, d: int = 6) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(12, d))[rng.integers(12, size=n)] * 2 + rng.normal(size=(n, d))


def clustered_rows(
    seed: int, n_rows: int, dimension: int, scale: float = 1.0, noise: float = 0.3
) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(12, dimension, generator=generator)
    chosen = torch.randint(12, (n_rows,), generator=generator)
    return scale * (centres[chosen] + noise * torch.randn(n_rows, dimension, generator=generator))


def lengths(rows: torch.Tensor) -> torch.Tensor:
    return torch.linalg.vector_norm(rows, dim=1)


_SMALL = Choice(
    is_rounded=False, directions=SketchKind(2, 2), rounded_directions=SketchKind(2, 2, is_rounded=True),
    # One dimension more than directions is enough.
    narrowest=1 + 1e-9, fewest_sketched=1, fewest_rounded=1, fewest_pairs=1, fewest_rows=1,
    fewest_dimensions=1, fewest_values=1, fewest_whole_pairs=1,
)  # fmt: skip
_ROUNDED = replace(_SMALL, is_rounded=True)
CHOICES = {
    "plain": Choice(is_plain=True),
    "all scores": replace(_SMALL, fewest_sketched=10**9),
    "sketches": _SMALL,
    "rounded sketches": _ROUNDED,
    "whole rows": replace(_ROUNDED, fewest_rounded=10**9),
}
"""Every way to search, however few and small rows and centroids are and whatever is faster here."""
