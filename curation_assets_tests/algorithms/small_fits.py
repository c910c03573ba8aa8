"""Small clustered inputs of fits, and a switch for what rows and centroids are compared by first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import numpy as np
import pytest
import torch

from curation_assets.algorithms.preprocessing import PreparedRows, fit_preprocessing
from curation_assets.algorithms.rows import ArrayRows
from curation_assets.algorithms.search import rounded_scores
from curation_assets.algorithms.search.cpu import sketch


def prepared(x: np.ndarray, metric: str = "l2") -> PreparedRows:
    source = ArrayRows(x.astype(np.float32))
    return PreparedRows(source, fit_preprocessing(source, metric=metric, centring=False))  # type: ignore[arg-type]


def blobs(seed: int, n: int = 600, d: int = 6) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(12, d))[rng.integers(12, size=n)] * 2 + rng.normal(size=(n, d))


def heaps(seed: int, n_rows: int, dimension: int, scale: float = 1.0, noise: float = 0.3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(12, dimension, generator=generator)
    chosen = torch.randint(12, (n_rows,), generator=generator)
    return scale * (centres[chosen] + noise * torch.randn(n_rows, dimension, generator=generator))


def lengths(rows: torch.Tensor) -> torch.Tensor:
    return torch.linalg.vector_norm(rows, dim=1)


Look = Literal["float32", "bfloat16", "sketches", "rounded sketches", "whole rows"]
LOOKS: tuple[Look, ...] = ("float32", "bfloat16", "sketches", "rounded sketches", "whole rows")


@contextmanager
def first_look(kind: Look) -> Iterator[None]:
    """How rows and centroids are compared first, however few and small they are and whatever is faster here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rounded_scores, "_FEWEST_CENTROIDS", 1 if kind == "bfloat16" else 10**9)
        patch.setattr(rounded_scores, "_FEWEST_DIMENSIONS", 1)
        patch.setattr(rounded_scores, "bfloat16_is_faster", lambda device: True)
        for kinds in ("_FEWEST_CENTROIDS", "_FEWEST_ROUNDED_CENTROIDS"):
            patch.setattr(sketch, kinds, 1 if "sketches" in kind else 10**9)
        patch.setattr(sketch, "_FEWEST_WHOLE_CENTROIDS", 1 if kind == "whole rows" else 10**9)
        for at_least in ("_FEWEST_PAIRS", "_FEWEST_WHOLE_PAIRS", "_FEWEST_DIMENSIONS"):
            patch.setattr(sketch, at_least, 1)
        small_sketches(patch, is_rounded=kind in ("rounded sketches", "whole rows"))
        yield


def small_sketches(
    patch: pytest.MonkeyPatch, leading: int = 2, random: int = 2, *, is_rounded: bool = False
) -> None:
    """Sketches of rows that have only a few dimensions, in float32 or bfloat16 whatever is faster here."""
    patch.setattr(sketch, "bfloat16_is_faster", lambda device: is_rounded)
    patch.setattr(sketch, "_DIRECTIONS", (leading, random))
    patch.setattr(sketch, "_ROUNDED_DIRECTIONS", (leading, random))
    # One dimension more than directions is enough.
    patch.setattr(sketch, "_FEWEST_WIDTHS", 1 + 1e-9)
