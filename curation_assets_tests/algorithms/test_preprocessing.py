"""Preprocessing: unit rows, centring, and a grid on which sums are exact."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.algorithms.preprocessing import Preprocessing, fit_preprocessing
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
    settings = Preprocessing("cosine", None, 2.0**-24)
    np.testing.assert_array_equal(settings.apply(np.zeros((2, 3), dtype=np.float32)), np.zeros((2, 3)))


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


def _in_one_piece(settings: Preprocessing, block: np.ndarray) -> np.ndarray:
    """The formula as it is written, on the whole block: what stored trees were fitted with."""
    block = np.asarray(block, dtype=np.float32)
    if settings.mean is not None:
        block = block - settings.mean
    if settings.metric == "cosine":
        wide = block.astype(np.float64)
        norms = np.sqrt(np.einsum("ij,ij->i", wide, wide))
        norms[norms == 0] = 1.0
        block = (wide / norms[:, None]).astype(np.float32)
    return np.asarray(np.rint(block * np.float32(1 / settings.grid_step)) * np.float32(settings.grid_step))


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("metric", ["cosine", "l2"])
@pytest.mark.parametrize("centring", [False, True])
@pytest.mark.parametrize("shape", [(0, 5), (1, 384), (1000, 1), (700, 384), (3, 200_000), (1000, 7)])
def test_blocks_give_the_bits_of_the_whole(
    dtype: type, metric: str, centring: bool, shape: tuple[int, int]
) -> None:
    x = (np.random.default_rng(sum(shape)).normal(size=shape) * 3).astype(dtype)
    x[::5] = 0
    mean = x[: shape[0] // 2 + 1].mean(axis=0, dtype=np.float32) if centring and len(x) else None
    settings = Preprocessing(metric, mean, 2.0**-24 if metric == "cosine" else 2.0**-20)  # type: ignore[arg-type]
    expected = _in_one_piece(settings, x)
    before = x.copy()
    assert settings.apply(x).tobytes() == expected.tobytes()
    np.testing.assert_array_equal(x, before)
    if dtype == np.float32:
        assert settings.apply(x, out=x) is x
        assert x.tobytes() == expected.tobytes(), "in place"
