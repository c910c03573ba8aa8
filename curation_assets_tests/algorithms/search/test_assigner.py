"""Assignment: the exact nearest centroid, however the work is cut up."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.algorithms.search import assigner, codebook
from curation_assets.algorithms.search.assigner import Assigner, assign
from curation_assets_tests.algorithms.small_fits import CHOICES


def brute_force(rows: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    wide = rows.astype(np.float64)[:, None] - centroids.astype(np.float64)
    return (wide**2).sum(-1).argmin(1)


def close_calls(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Centroids in pairs a few float32 steps apart, so that most rows are close calls."""
    rng = np.random.default_rng(seed)
    centroids = rng.normal(size=(40, 24)).astype(np.float32)
    twins = centroids + rng.choice([-1e-6, 1e-6], size=centroids.shape).astype(np.float32)
    return rng.normal(size=(500, 24)).astype(np.float32), np.concatenate([centroids, twins])


@given(st.integers(0, 50))
def test_nearest_is_exact_in_float64(seed: int) -> None:
    rows, centroids = close_calls(seed)
    clusters, distances = assign(rows, centroids, metric="l2")
    expected = brute_force(rows, centroids)
    np.testing.assert_array_equal(clusters, expected)
    exact = np.linalg.norm(rows.astype(np.float64) - centroids[expected], axis=1)
    np.testing.assert_allclose(distances, exact, rtol=1e-6)
    np.testing.assert_array_equal(Assigner(centroids, metric="l2").distances_to(rows, clusters), distances)


def test_of_equal_centroids_the_lowest_index_wins() -> None:
    centroids = np.repeat(np.eye(4, dtype=np.float32), 3, axis=0)
    clusters, distances = assign(np.eye(4, dtype=np.float32), centroids, metric="cosine")
    assert clusters.tolist() == [0, 3, 6, 9]
    assert distances.tolist() == [0, 0, 0, 0]


def test_ways_to_search_tiles_and_threads_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, centroids = close_calls(3)
    whole = assign(rows, centroids, metric="l2")
    monkeypatch.setattr(codebook, "TILE_BYTES", 4096)
    threads = torch.get_num_threads()
    for n_threads in (1, 2):
        torch.set_num_threads(n_threads)
        for choice in CHOICES.values():
            cut = assign(rows, centroids, metric="l2", choice=choice)
            np.testing.assert_array_equal(cut[0], whole[0])
            np.testing.assert_array_equal(cut[1], whole[1])
    torch.set_num_threads(threads)


@pytest.mark.parametrize("n_rows", [120, 10])
def test_blocks_are_assigned_as_the_whole(n_rows: int) -> None:
    rows, centroids = close_calls(4)
    whole = assign(rows, centroids, metric="l2")
    kept = Assigner(centroids, metric="l2")
    for assign_block in (kept.assign, lambda block: assign(block, centroids, metric="l2")):
        parts = [assign_block(rows[start : start + n_rows]) for start in range(0, 500, n_rows)]
        np.testing.assert_array_equal(np.concatenate([clusters for clusters, _ in parts]), whole[0])
        np.testing.assert_array_equal(np.concatenate([distances for _, distances in parts]), whole[1])


def test_centroids_are_prepared_again_only_for_more_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, centroids = close_calls(5)
    made_for: list[int] = []
    make = assigner.nearest_centroids
    monkeypatch.setattr(
        assigner, "nearest_centroids", lambda book, n, **more: made_for.append(n) or make(book, n, **more)
    )
    kept = Assigner(centroids, metric="l2")
    for n in (100, 100, 7, 300, 0, 200):
        kept.assign(rows[:n])
    assert made_for == [100, 300]


def test_cosine_distance_is_one_minus_cosine() -> None:
    rows = np.array([[1, 0], [0.6, 0.8]], dtype=np.float32)
    _, distances = assign(rows, np.array([[0, 1]], dtype=np.float32), metric="cosine")
    np.testing.assert_allclose(distances, [1.0, 0.2], atol=1e-6)
