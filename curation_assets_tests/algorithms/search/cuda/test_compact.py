"""Rows that are held as they are stored stand for prepared rows, to the last bit."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from curation_assets.algorithms.preprocessing import PreparedRows, Preprocessing
from curation_assets.algorithms.rows import ArrayRows
from curation_assets.algorithms.search.base import SearchedRows
from curation_assets.algorithms.search.codebook import Codebook
from curation_assets.algorithms.search.cuda import launches, row_launches
from curation_assets.algorithms.search.cuda.arithmetic import CudaArithmetic
from curation_assets.algorithms.search.cuda.compact import CompactBlock, compact_row_bytes, is_its_own_view
from curation_assets.algorithms.search.cuda.rounding import HalfCentroids, HalfRows, ScoreError
from curation_assets.algorithms.search.cuda.search import CudaCentroids
from curation_assets_tests.algorithms.search.cuda.kernels_here import (
    SMALL_TILE,
    device_of_kernels,
    use_small_searches,
)

from . import reference
from .stored_cases import CASES, PREPARATIONS, compact, prepared_rows, stored_rows

pytestmark = [pytest.mark.kernel]
ARITHMETIC = CudaArithmetic()


def both(
    name: str, n: int, d: int, metric: str, centring: bool, device: torch.device
) -> tuple[CompactBlock, torch.Tensor]:
    """Rows as they are stored, and prepared by numpy."""
    rows = prepared_rows(stored_rows(name, n, d), metric, centring)
    return compact(rows, device), torch.from_numpy(rows.read(0, n)).to(device)


def bits(rows: torch.Tensor) -> bytes:
    return rows.cpu().numpy().tobytes()


@pytest.mark.parametrize(("metric", "centring"), PREPARATIONS)
@pytest.mark.parametrize("name", CASES)
def test_values_have_the_bits_of_numpy(name: str, metric: str, centring: bool, device: torch.device) -> None:
    for dimension in (1, 130):
        block, expected = both(name, 37, dimension, metric, centring, device)
        assert block.shape == expected.shape
        assert bits(block.prepared()) == bits(expected)
    numbers = torch.tensor([5, 0, 36, 5], device=device)
    assert bits(block.prepared(numbers)) == bits(expected[numbers])
    assert bits(block[3:20].prepared()) == bits(expected[3:20])
    assert bits(block.index_select(0, numbers)[1:].prepared()) == bits(expected[numbers][1:])


@given(
    arrays(np.float16, (3, 5), elements=st.floats(-65504, 65504, width=16)),
    st.sampled_from(PREPARATIONS),
)
@settings(max_examples=40)
def test_any_values_have_the_bits_of_numpy(stored: np.ndarray, how: tuple[str, bool]) -> None:
    rows = prepared_rows(stored, *how)
    assert bits(compact(rows, device_of_kernels()).prepared()) == bits(torch.from_numpy(rows.read(0, 3)))


def test_rows_that_are_longer_than_those_of_the_fit_have_the_bits_of_numpy(device: torch.device) -> None:
    how = Preprocessing("l2", None, 2.0**-48)
    rows = PreparedRows(ArrayRows(stored_rows("mixed", 20, 9)), how)
    assert bits(compact(rows, device).prepared()) == bits(torch.from_numpy(rows.read(0, 20)))


def test_what_is_rounded_to_zero_keeps_its_sign(device: torch.device) -> None:
    stored = np.array([[1000, -1e-5, 1e-5, -0.0]], dtype=np.float16)
    values = compact(prepared_rows(stored, "cosine", False), device).prepared().cpu().numpy()
    assert np.signbit(values).tolist() == [[False, True, False, True]]
    assert values.tolist() == [[1, 0, 0, 0]]


@pytest.mark.parametrize(("metric", "centring"), PREPARATIONS)
def test_formulas_give_what_they_give_for_prepared_rows(
    metric: str, centring: bool, device: torch.device
) -> None:
    block, rows = both("zeros", 40, 75, metric, centring, device)
    rng = np.random.default_rng(0)
    centroids = torch.from_numpy(rng.normal(size=(6, 75)).astype(np.float32)).to(device)
    numbers, clusters = (torch.from_numpy(rng.integers(size, size=60)).to(device) for size in (40, 6))
    bias = Codebook.of(centroids).bias
    for named, column in ((numbers, clusters), (None, clusters[:40])):
        scores = [ARITHMETIC.pair_scores(held, named, centroids, bias, column) for held in (block, rows)]
        squares = [ARITHMETIC.squared_distances(held, named, centroids, column) for held in (block, rows)]
        assert bits(scores[0]) == bits(scores[1])
        assert bits(squares[0]) == bits(squares[1])
    assert bits(ARITHMETIC.squared_lengths(block)) == bits(ARITHMETIC.squared_lengths(rows))
    assert torch.allclose(ARITHMETIC.lengths(block), ARITHMETIC.lengths(rows))
    assert bits(ARITHMETIC.scores(block, centroids, bias)) == bits(ARITHMETIC.scores(rows, centroids, bias))
    sums = [torch.zeros(6, 75, dtype=torch.float64, device=device) for _ in range(2)]
    mass = torch.arange(60, dtype=torch.float64, device=device)
    for held, total in zip((block, rows), sums, strict=True):
        ARITHMETIC.add_rows(held, numbers, clusters, mass, total)
    assert bits(sums[0]) == bits(sums[1])


@pytest.mark.parametrize("name", ["ordinary", "smallest", "largest"])
def test_squared_lengths_have_the_bits_of_the_cpu(name: str, device: torch.device) -> None:
    block, rows = both(name, 9, 70, "l2", False, device)
    expected = reference.squared_distances(rows.cpu().numpy(), np.zeros((1, 70)))[:, 0]
    np.testing.assert_array_equal(ARITHMETIC.squared_lengths(block).cpu().numpy(), expected)


def test_scores_that_are_known_are_not_computed_again(device: torch.device) -> None:
    block, rows = both("ordinary", 20, 30, "cosine", False, device)
    before, column = torch.arange(20, device=device) % 5, torch.arange(20, device=device) % 4
    scores = torch.full((20,), math.nan, device=device)
    row_launches.score_again(block, rows[:5], torch.zeros(5, device=device), column, before, scores)
    same = (before == column).cpu()
    assert scores.cpu().isnan().tolist() == same.tolist()
    expected = (rows * rows[column]).sum(dim=1)
    torch.testing.assert_close(scores[~same.to(device)], expected[~same.to(device)])


@pytest.mark.parametrize(("metric", "centring"), PREPARATIONS)
@pytest.mark.parametrize("name", CASES)
def test_views_lose_no_more_than_they_say(
    name: str, metric: str, centring: bool, device: torch.device
) -> None:
    block, rows = both(name, 40, 130, metric, centring, device)
    norms = ARITHMETIC.lengths(block)
    half = HalfRows.of(block, norms)
    values = half.values[:, :130].double() * half.scales.double()[:, None]
    lost = torch.linalg.vector_norm(rows.double() - values, dim=1)
    assert (lost <= half.residuals).all()
    assert not half.values[:, 130:].any()
    assert half.largest_norm == norms.amax()
    assert is_its_own_view(block) == (half.values.data_ptr() == block.values.data_ptr()) == (not centring)
    if metric == "cosine" and not centring:
        assert half.residuals.amax() < 1e-6, "float16 views of prepared rows lose 200 times as much"
    per_row = 2 * half.values.shape[1] * (2 if centring else 1)
    assert compact_row_bytes(130, is_centred=centring) == per_row + 16


@pytest.mark.parametrize(("metric", "centring"), PREPARATIONS)
@pytest.mark.parametrize("name", ["ordinary", "largest", "smallest"])
def test_scores_of_the_kernel_keep_to_their_bound(
    name: str, metric: str, centring: bool, device: torch.device
) -> None:
    block, rows = both(name, 40, 130, metric, centring, device)
    norms, book = ARITHMETIC.lengths(block), Codebook.of(rows[::2].clone())
    half, centroids = (
        HalfRows.of(block, norms),
        HalfCentroids.of(book.centroids, book.bias, book.largest_norm),
    )
    best, column, _, _ = launches.best_two(half, centroids, None, SMALL_TILE)
    exact = reference.scores(rows.cpu().numpy(), book.centroids.cpu().numpy())
    error = ScoreError.of(centroids).of_rows(norms, half).double().cpu().numpy()
    highest = best.double().cpu().numpy()
    allowed = error + SMALL_TILE.columns * 2.0**-23 * (1 + 1e-3) * np.abs(highest)
    assert (np.abs(highest - exact[np.arange(40), column.cpu().numpy()]) <= allowed).all()
    assert (np.abs(highest - exact.max(axis=1)) <= allowed).all()


@pytest.mark.parametrize(("metric", "centring"), PREPARATIONS)
@pytest.mark.parametrize("name", ["tight", "zeros", "whole"])
@pytest.mark.parametrize("n_centroids", [1, 40])
def test_nearest_centroid_is_exact(
    name: str,
    metric: str,
    centring: bool,
    n_centroids: int,
    device: torch.device,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use_small_searches(monkeypatch)
    block, rows = both(name, 24, 70, metric, centring, device)
    centroids = rows[torch.arange(n_centroids, device=device) % 24].clone()
    centroids[::3] *= 0.9
    search = CudaCentroids(Codebook.of(centroids))
    found = search.best_two(SearchedRows(block, ARITHMETIC.lengths(block)))
    expected = reference.nearest(rows.cpu().numpy(), centroids.cpu().numpy())
    np.testing.assert_array_equal(found.column.cpu().numpy(), expected)
