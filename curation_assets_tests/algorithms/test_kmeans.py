"""k-means: hand-worked cases, and the incremental search against a plain one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.algorithms import rounded_scores, rows
from curation_assets.algorithms.kmeans import fit_kmeans
from curation_assets.algorithms.lloyd import Lloyd
from curation_assets.algorithms.preprocessing import PreparedRows, fit_preprocessing
from curation_assets.algorithms.rows import ArrayRows
from curation_assets.algorithms.tiles import TiledRows


def prepared(x: np.ndarray, metric: str = "l2") -> PreparedRows:
    source = ArrayRows(x.astype(np.float32))
    return PreparedRows(source, fit_preprocessing(source, metric=metric, centring=False))  # type: ignore[arg-type]


def blobs(seed: int, n: int = 600, d: int = 6) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(12, d))[rng.integers(12, size=n)] * 2 + rng.normal(size=(n, d))


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


def test_two_groups_on_a_line() -> None:
    x = np.array([[0.0], [1.0], [2.0], [10.0], [11.0], [12.0]])
    fit = fit_kmeans(prepared(x), 2, metric="l2", rng=np.random.default_rng(0))
    assert sorted(fit.centroids[:, 0].tolist()) == [1.0, 11.0]
    assert fit.inertias[-1] == pytest.approx(4.0)
    assert fit.sizes.tolist() == [3, 3]
    assert sorted(fit.distances.tolist()) == [0, 0, 1, 1, 1, 1]


@contextmanager
def first_look(is_rounded: bool) -> Iterator[None]:
    """Whether products are looked at in bfloat16 first, however small they are and whatever is faster here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rounded_scores, "_FEWEST_CENTROIDS", 1 if is_rounded else 10**9)
        patch.setattr(rounded_scores, "_FEWEST_DIMENSIONS", 1)
        patch.setattr(rounded_scores, "bfloat16_is_faster", lambda device: True)
        yield


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


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000), st.sampled_from(["l2", "cosine"]))
def test_inertia_never_rises_and_assignments_are_nearest(seed: int, metric: str) -> None:
    inputs = prepared(blobs(seed), metric)
    fit = fit_kmeans(inputs, 30, metric=metric, rng=np.random.default_rng(seed), tolerance=0.0)  # type: ignore[arg-type]
    assert all(b <= a * (1 + 1e-12) for a, b in zip(fit.inertias, fit.inertias[1:], strict=False))
    x = inputs.read(0, 600).astype(np.float64)
    squared = ((x[:, None] - fit.centroids.astype(np.float64)) ** 2).sum(-1)
    np.testing.assert_array_equal(fit.assignments, squared.argmin(1))
    if metric == "cosine":
        np.testing.assert_allclose(np.linalg.norm(fit.centroids, axis=1), 1, atol=1e-6)


def test_a_cluster_without_rows_keeps_its_centroid() -> None:
    inputs = prepared(np.array([[0.0], [1.0], [2.0]]))
    search = Lloyd(TiledRows(inputs, "cpu"), torch.tensor([[1.0], [50.0]]), "l2")
    search.update_centroids()
    search.reassign()
    assert search.book.centroids.tolist() == [[1.0], [50.0]]


def test_chunks_residency_and_threads_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = prepared(blobs(5, n=3000, d=16), "cosine")

    def fit(tiled: TiledRows) -> tuple[bytes, bytes]:
        result = fit_kmeans(tiled, 150, metric="cosine", rng=np.random.default_rng(1), n_local_trials=1)
        return result.centroids.tobytes(), result.assignments.tobytes()

    with first_look(False):
        whole = fit(TiledRows(inputs, "cpu"))
    monkeypatch.setattr(rows.chunk_bounds, "__defaults__", (4 * 16 * 101,))
    threads = torch.get_num_threads()
    for n_threads in (1, 2):
        torch.set_num_threads(n_threads)
        for is_rounded in (False, True):
            with first_look(is_rounded):
                assert fit(TiledRows(inputs, "cpu", resident_bytes=0)) == whole
    torch.set_num_threads(threads)


def test_a_weight_counts_as_copies_of_the_row() -> None:
    x = np.array([[0.0], [3.0], [10.0], [11.0]])
    weights = np.array([2, 1, 1, 3])
    fit = fit_kmeans(prepared(x), 2, metric="l2", rng=np.random.default_rng(0), weights=weights)
    assert sorted(fit.centroids[:, 0].tolist()) == [1.0, 10.75]
    assert fit.inertias[-1] == pytest.approx(2 * 1 + 4 + 0.75**2 + 3 * 0.25**2)
    start = torch.tensor([[0.0], [11.0]])
    copies = Lloyd(TiledRows(prepared(np.repeat(x, weights, axis=0)), "cpu"), start.clone(), "l2")
    weighted = Lloyd(TiledRows(prepared(x), "cpu"), start, "l2", None, weights.astype(np.float64))
    for search in (copies, weighted):
        search.update_centroids()
        search.reassign()
    assert copies.book.centroids.tolist() == weighted.book.centroids.tolist()
    assert copies.inertia() == weighted.inertia()
