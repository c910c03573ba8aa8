"""Lloyd's iterations: the incremental search against a plain one, sums, weights."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.algorithms.kmeans.centroid_sums import CentroidSums
from curation_assets.algorithms.kmeans.lloyd import Lloyd
from curation_assets.algorithms.kmeans.tiles import TiledRows
from curation_assets.algorithms.preprocessing import PreparedRows
from curation_assets.algorithms.search.choose import Choice
from curation_assets_tests.algorithms.small_fits import CHOICES, blobs, prepared


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


def iterate(search: Lloyd, sums: CentroidSums, n_iterations: int) -> None:
    sums.add(search.all_rows()[0])
    for _ in range(n_iterations):
        sums.add(search.step(torch.from_numpy(sums.update()))[0])


def begun(
    x: PreparedRows,
    centroids: np.ndarray,
    weights: np.ndarray | None = None,
    choice: Choice | None = None,
) -> tuple[Lloyd, CentroidSums]:
    search = Lloyd(TiledRows(x, "cpu", choice=choice), torch.from_numpy(centroids.copy()), None, weights)
    return search, CentroidSums(centroids.copy(), "l2", 0.0)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 8), st.sampled_from(list(CHOICES.values())))
def test_the_incremental_search_is_plain_lloyd(seed: int, n_iterations: int, choice: Choice) -> None:
    inputs = prepared(blobs(seed))
    x = inputs.read(0, 600)
    start = x[np.random.default_rng(seed).choice(600, 40, replace=False)]
    search, sums = begun(inputs, start, choice=choice)
    iterate(search, sums, n_iterations)
    centroids, clusters = plain_lloyd(x.astype(np.float64), start.copy(), n_iterations)
    np.testing.assert_array_equal(search.result("l2")[0], clusters)
    np.testing.assert_array_equal(sums.centroids, centroids)


def test_a_cluster_without_rows_keeps_its_centroid() -> None:
    search, sums = begun(
        prepared(np.array([[0.0], [1.0], [2.0]])), np.array([[1.0], [50.0]], dtype=np.float32)
    )
    iterate(search, sums, 1)
    assert sums.centroids.tolist() == [[1.0], [50.0]]


def test_a_weighted_row_adds_to_sums_like_its_copies() -> None:
    x = np.array([[0.0], [3.0], [10.0], [11.0]])
    weights = np.array([2, 1, 1, 3])
    start = np.array([[0.0], [11.0]], dtype=np.float32)
    copies, of_copies = begun(prepared(np.repeat(x, weights, axis=0)), start)
    weighted, of_weighted = begun(prepared(x), start, weights.astype(np.float64))
    iterate(copies, of_copies, 1)
    iterate(weighted, of_weighted, 1)
    assert of_copies.centroids.tolist() == of_weighted.centroids.tolist()
    assert of_copies.inertia() == of_weighted.inertia()


@given(st.integers(0, 500), st.sampled_from(list(CHOICES.values())))
def test_rows_that_leave_and_return_do_not_shift_the_sums(seed: int, choice: Choice) -> None:
    inputs = prepared(blobs(seed))
    x = inputs.read(0, 600)
    search, sums = begun(inputs, x[:25], choice=choice)
    iterate(search, sums, 4)
    clusters = search.result("l2")[0]
    expected = np.zeros((25, 6))
    np.add.at(expected, clusters, x.astype(np.float64))
    np.testing.assert_array_equal(sums._sums, expected)
    np.testing.assert_array_equal(sums._counts, np.bincount(clusters, minlength=25))


def test_a_step_names_only_clusters_that_gained_or_lost_a_row() -> None:
    rows = np.array([[0.0], [1.0], [6.0], [20.0], [21.0]])
    search, _sums = begun(prepared(rows), np.array([[0.0], [5.0], [20.5]], dtype=np.float32))
    whole, squared = search.all_rows()
    assert whole.counts.tolist() == [2, 1, 2]
    assert squared.tolist() == [0, 1, 36, 400, 441]
    delta, n_reassigned = search.step(torch.tensor([[0.0], [0.9], [20.5]]))
    # The row at 1 moves from the first cluster to the second, and nothing else does.
    assert n_reassigned == 1
    assert delta.clusters.tolist() == [0, 1]
    assert delta.sums.tolist() == [[-1.0], [1.0]]
    assert delta.counts.tolist() == [-1, 1]
