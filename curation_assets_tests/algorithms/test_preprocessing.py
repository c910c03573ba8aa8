"""Preprocessing: unit rows, centring, and a grid on which sums are exact."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.algorithms.preprocessing import fit_preprocessing, normalise_rows
from curation_assets.algorithms.rows import ArrayRows


@given(st.integers(0, 1000), st.sampled_from(["cosine", "l2"]), st.floats(1e-3, 1e4))
def test_sums_of_prepared_rows_are_exact_in_any_order(seed: int, metric: str, scale: float) -> None:
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(400, 3)) * scale).astype(np.float32)
    block = fit_preprocessing(ArrayRows(x), metric=metric, centring=False).apply(x).astype(np.float64)  # type: ignore[arg-type]
    forwards, backwards, shuffled = (np.add.reduce(block[order]) for order in _orders(rng, len(block)))
    assert forwards.tolist() == backwards.tolist() == shuffled.tolist()
    if metric == "l2":
        np.testing.assert_allclose(block, x, atol=1e-6 * scale * 4)


def _orders(rng: np.random.Generator, n: int) -> list[np.ndarray]:
    return [np.arange(n), np.arange(n)[::-1], rng.permutation(n)]


def test_centring_subtracts_the_mean_before_normalising() -> None:
    x = np.array([[10, 1], [10, -1], [11, 0], [9, 0]], dtype=np.float32)
    block = fit_preprocessing(ArrayRows(x), metric="cosine", centring=True).apply(x)
    np.testing.assert_allclose(block, [[0, 1], [0, -1], [1, 0], [-1, 0]], atol=1e-6)


def test_zero_rows_stay_zero() -> None:
    np.testing.assert_array_equal(normalise_rows(np.zeros((2, 3), dtype=np.float32)), np.zeros((2, 3)))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_rows_that_are_not_finite_are_named(bad: float) -> None:
    x = np.ones((5, 2), dtype=np.float32)
    x[3, 1] = bad
    with pytest.raises(ValueError, match="row 3"):
        fit_preprocessing(ArrayRows(x), metric="cosine", centring=False)


def test_empty_pools_and_unknown_metrics_are_refused() -> None:
    with pytest.raises(ValueError, match="no rows"):
        fit_preprocessing(ArrayRows(np.empty((0, 3), dtype=np.float32)), metric="cosine", centring=False)
    with pytest.raises(ValueError, match="metric must be"):
        fit_preprocessing(ArrayRows(np.ones((1, 3), dtype=np.float32)), metric="dot", centring=False)  # type: ignore[arg-type]
