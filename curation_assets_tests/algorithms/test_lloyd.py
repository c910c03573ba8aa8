"""Lloyd's iterations: the incremental search against a plain one, sums, weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.algorithms import rounded_scores
from curation_assets.algorithms.lloyd import Lloyd
from curation_assets.algorithms.tiles import TiledRows
from curation_assets_tests.algorithms.small_fits import blobs, first_look, prepared


def plain_lloyd(x: np.ndarray, centroids: np.ndarray, n_iterations: int) -> tuple[np.ndarray, np.ndarray]:
    """Textbook iterations in float64, in the order update then assign."""

    def nearest() -> np.ndarray:
        return ((x[:, None] - centroids.astype(np.float64)) ** 2).sum(-1).argmin(1)

    clusters = nearest()
    for _ in range(n_iterations):
        for c in np.unique(clusters):
            centroids[c] = x[clusters == c].mean(0).astype(np.float32)
        clusters = nearest()
    return centroids, clusters


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 8), st.booleans())
def test_the_incremental_search_is_plain_lloyd(seed: int, n_iterations: int, is_rounded: bool) -> None:
    inputs = prepared(blobs(seed))
    x = inputs.read(0, 600).astype(np.float64)
    tiled = TiledRows(inputs, "cpu")
    start = tiled.take(np.random.default_rng(seed).choice(600, 40, replace=False)).clone()
    search = Lloyd(tiled, start.clone(), "l2")
    with first_look(is_rounded):
        for _ in range(n_iterations):
            search.update_centroids()
            search.reassign()
    centroids, clusters = plain_lloyd(x, start.numpy().copy(), n_iterations)
    np.testing.assert_array_equal(search.result()[0], clusters)
    np.testing.assert_array_equal(search.book.centroids.numpy(), centroids)
    assert search.inertia() == pytest.approx(
        sum(((x[clusters == c] - x[clusters == c].mean(0)) ** 2).sum() for c in np.unique(clusters))
    )


def test_a_cluster_without_rows_keeps_its_centroid() -> None:
    inputs = prepared(np.array([[0.0], [1.0], [2.0]]))
    search = Lloyd(TiledRows(inputs, "cpu"), torch.tensor([[1.0], [50.0]]), "l2")
    search.update_centroids()
    search.reassign()
    assert search.book.centroids.tolist() == [[1.0], [50.0]]


def test_a_weighted_row_adds_to_sums_like_its_copies() -> None:
    x = np.array([[0.0], [3.0], [10.0], [11.0]])
    weights = np.array([2, 1, 1, 3])
    start = torch.tensor([[0.0], [11.0]])
    copies = Lloyd(TiledRows(prepared(np.repeat(x, weights, axis=0)), "cpu"), start.clone(), "l2")
    weighted = Lloyd(TiledRows(prepared(x), "cpu"), start, "l2", None, weights.astype(np.float64))
    for search in (copies, weighted):
        search.update_centroids()
        search.reassign()
    assert copies.book.centroids.tolist() == weighted.book.centroids.tolist()
    assert copies.inertia() == weighted.inertia()


@given(st.integers(0, 500))
def test_rows_that_leave_and_return_do_not_shift_the_sums(seed: int) -> None:
    inputs = prepared(blobs(seed))
    tiled = TiledRows(inputs, "cpu")
    search = Lloyd(tiled, tiled.take(np.arange(25)).clone(), "l2")
    with first_look(True):
        for _ in range(4):
            search.update_centroids()
            search.reassign()
    clusters = search.result()[0]
    x = inputs.read(0, 600).astype(np.float64)
    expected = np.zeros((25, 6))
    np.add.at(expected, clusters, x)
    np.testing.assert_array_equal(search._sums.numpy(), expected)
    np.testing.assert_array_equal(search._counts.numpy(), np.bincount(clusters, minlength=25))


def test_the_first_look_is_taken_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    leaders = rounded_scores.RoundedCentroids.leaders

    def counted(
        self: rounded_scores.RoundedCentroids, *arguments: torch.Tensor, **more: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        looks.append(len(arguments[0]))
        return leaders(self, *arguments, **more)

    monkeypatch.setattr(rounded_scores.RoundedCentroids, "leaders", counted)
    tiled = TiledRows(prepared(blobs(1)), "cpu")
    for is_rounded in (False, True):
        with first_look(is_rounded):
            search = Lloyd(tiled, tiled.take(np.arange(30)).clone(), "l2")
            search.update_centroids()
            search.reassign()
        assert bool(looks) is is_rounded
