"""Small clustered inputs of fits, and a switch for the first look in bfloat16."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from curation_assets.algorithms import rounded_scores
from curation_assets.algorithms.preprocessing import PreparedRows, fit_preprocessing
from curation_assets.algorithms.rows import ArrayRows


def prepared(x: np.ndarray, metric: str = "l2") -> PreparedRows:
    source = ArrayRows(x.astype(np.float32))
    return PreparedRows(source, fit_preprocessing(source, metric=metric, centring=False))  # type: ignore[arg-type]


def blobs(seed: int, n: int = 600, d: int = 6) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(12, d))[rng.integers(12, size=n)] * 2 + rng.normal(size=(n, d))


@contextmanager
def first_look(is_rounded: bool) -> Iterator[None]:
    """Whether products are looked at in bfloat16 first, however small they are and whatever is faster here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rounded_scores, "_FEWEST_CENTROIDS", 1 if is_rounded else 10**9)
        patch.setattr(rounded_scores, "_FEWEST_DIMENSIONS", 1)
        patch.setattr(rounded_scores, "bfloat16_is_faster", lambda device: True)
        yield
