"""Nearest sub-clusters: what one search for each coarse cluster finds, ties and close calls too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from curation_assets.algorithms import LevelSpec, fit_hierarchy
from curation_assets.algorithms.search import groups as inside_assignment
from curation_assets.algorithms.search.assigner import assign
from curation_assets.algorithms.search.groups import assign_inside
from curation_assets.algorithms.tree import CoarseClusters, LevelAssigner
from curation_assets_tests.algorithms.search.cuda.kernels_here import (
    device_of_kernels,
    use_kernels,
    use_small_searches,
)

WIDTHS = np.array([3, 0, 1, 40, 7, 7, 120, 2])
BOUNDS = np.concatenate([[0], np.cumsum(WIDTHS)])


def rows_and_centroids(dimension: int = 16) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """2,000 rows in coarse clusters of very different sizes; centroids that are copies or nearly so."""
    rng = np.random.default_rng(5)
    centroids = rng.normal(size=(180, dimension)).astype(np.float32)
    centroids[1] = centroids[0]
    centroids[20:30] = centroids[15]
    centroids[60:100] = centroids[59] + 1e-7 * rng.normal(size=(40, dimension)).astype(np.float32)
    coarse = rng.choice([0, 2, 3, 4, 6, 7], 2000, p=[0.5, 0.1, 0.2, 0.1, 0.099, 0.001])
    rows = rng.normal(size=(2000, dimension)).astype(np.float32)
    rows[::7] = centroids[BOUNDS[coarse[::7]]]
    return rows, coarse, centroids


def one_by_one(rows: np.ndarray, coarse: np.ndarray, centroids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    clusters, distances = np.empty(len(rows), np.int64), np.empty(len(rows), np.float32)
    for cluster in np.unique(coarse):
        mine, inside = coarse == cluster, slice(BOUNDS[cluster], BOUNDS[cluster + 1])
        found, distances[mine] = assign(rows[mine], centroids[inside], metric="l2")
        clusters[mine] = BOUNDS[cluster] + found
    return clusters, distances


@pytest.mark.parametrize("limits", [(4096, 4096, 1024), (1, 1, 1024), (300, 50, 1024), (500, 4096, 30)])
def test_many_small_searches_at_once_find_what_each_finds(
    limits: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, limit in zip(("_ROWS", "_CENTROIDS", "_WIDTH"), limits, strict=True):
        monkeypatch.setattr(inside_assignment, name, limit)
    rows, coarse, centroids = rows_and_centroids()
    expected = one_by_one(rows, coarse, centroids)
    for mine, theirs in zip(
        assign_inside(rows, coarse, centroids, BOUNDS, metric="l2"), expected, strict=True
    ):
        assert mine.dtype == theirs.dtype
        np.testing.assert_array_equal(mine, theirs)
    assert not np.isin(expected[0], [1, *range(20, 30)]).any(), "a copy of a centroid won against the first"
    assert len(np.unique(expected[0])) > 60


@pytest.mark.parametrize("longest", [1.0, 1e19])
def test_kernels_find_what_each_search_finds(longest: float, monkeypatch: pytest.MonkeyPatch) -> None:
    device = device_of_kernels()
    rows, coarse, centroids = rows_and_centroids()
    # Few rows for the interpreter; longer ones than the kernels take are left to products.
    rows, coarse = rows[:150], coarse[:150]
    rows[7] *= np.float32(longest)
    expected = one_by_one(rows, coarse, centroids)
    use_small_searches(monkeypatch)
    use_kernels(monkeypatch)
    # Several batches.
    monkeypatch.setattr(inside_assignment, "_CUDA_BYTES", 4 * 64 * 130)
    for mine, theirs in zip(
        assign_inside(rows, coarse, centroids, BOUNDS, metric="l2", device=device.type), expected, strict=True
    ):
        np.testing.assert_array_equal(mine, theirs)


def test_centroids_may_be_memory_mapped_and_rows_come_in_any_chunks(tmp_path: Path) -> None:
    rows, coarse, centroids = rows_and_centroids()
    np.save(tmp_path / "c.npy", centroids)
    mapped = np.load(tmp_path / "c.npy", mmap_mode="r")
    expected, _ = one_by_one(rows, coarse, centroids)
    for start, stop in ((0, 700), (700, 701), (701, 2000), (5, 5)):
        piece = slice(start, stop)
        found, distances = assign_inside(rows[piece], coarse[piece], mapped, BOUNDS, metric="cosine")
        np.testing.assert_array_equal(found, expected[piece])
        assert distances.shape == (stop - start,)


def test_no_row_falls_into_a_coarse_cluster_that_lost_its_rows() -> None:
    coarse = CoarseClusters(np.array([[0.0], [5.0], [9.0]], np.float32), np.array([0, 0, 2]))
    centroids = np.array([[-1.0], [1.0], [9.0]], np.float32)
    block = np.array([[0.5], [5.0], [4.4], [100.0]], np.float32)
    assigner = LevelAssigner(centroids, coarse, metric="l2")
    clusters, distances = assigner.assign(block)
    assert clusters.tolist() == [1, 2, 1, 2]
    assert distances.tolist() == pytest.approx([0.5, 4.0, 3.4, 91.0], abs=1e-6)
    with pytest.raises(ValueError, match="the level is split"):
        assigner.distances_to(block, clusters)


def test_rows_of_a_split_level_find_the_cluster_they_were_fitted_in() -> None:
    rng = np.random.default_rng(2)
    x = (rng.normal(size=(40, 24))[rng.integers(0, 40, 3000)] + 0.3 * rng.normal(size=(3000, 24))).astype(
        np.float16
    )
    specs = [LevelSpec(n_clusters=300, n_coarse_clusters=30), LevelSpec(n_clusters=10, resampling_steps=0)]
    tree = fit_hierarchy(x, specs, seed=1)
    block = tree.preprocessing.apply(x)
    clusters, distances = tree.levels[0].assigner(metric="cosine").assign(block)
    np.testing.assert_array_equal(clusters, tree.levels[0].assignments)
    np.testing.assert_array_equal(distances, tree.levels[0].distances)
