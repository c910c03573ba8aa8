"""Splits: buckets by their counts, and fits that depend on nothing but their coarse cluster."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.algorithms import LevelSpec, splitting
from curation_assets.algorithms.hierarchy import LevelFitter
from curation_assets.algorithms.kmeans.fit import KMeansFit, fit_kmeans
from curation_assets.algorithms.preprocessing import PreparedRows, fit_preprocessing
from curation_assets.algorithms.randomness import Purpose, generator
from curation_assets.algorithms.rows import ArrayRows, Rows
from curation_assets.algorithms.splitting import bucket_bounds, split_bucket
from curation_assets.algorithms.tree import Level


def test_buckets_are_cut_by_counts_not_by_numbers() -> None:
    counts = np.array([5, 3, 2, 40, 0, 1, 9, 0, 10, 4])
    assert bucket_bounds(counts, row_bytes=8, bucket_bytes=80).tolist() == [0, 3, 4, 8, 9, 10]
    assert bucket_bounds(counts, row_bytes=8, bucket_bytes=1).tolist() == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10]
    assert bucket_bounds(counts, row_bytes=8).tolist() == [0, 10]


@given(st.lists(st.integers(0, 30), min_size=1, max_size=60), st.integers(1, 60))
def test_buckets_fit_or_hold_one_cluster(counts: list[int], most_rows: int) -> None:
    bounds = bucket_bounds(np.array(counts), row_bytes=4, bucket_bytes=4 * most_rows)
    assert bounds[0] == 0
    assert bounds[-1] == len(counts)
    assert (np.diff(bounds) > 0).all()
    for first, last in pairwise(bounds.tolist()):
        assert sum(counts[first:last]) <= most_rows or last == first + 1
        # Nothing is left out that would have fitted.
        assert last == len(counts) or sum(counts[first : last + 1]) > most_rows


@pytest.fixture(scope="module")
def inputs() -> PreparedRows:
    """900 rows of 12 directions with very uneven shares; many rows are repeated."""
    rng = np.random.default_rng(4)
    concept = rng.choice(12, 900, p=(shares := 1 / np.arange(1, 13)) / shares.sum())
    x = (rng.normal(size=(12, 6))[concept] + 0.3 * rng.normal(size=(900, 6))).astype(np.float16)
    x[600:] = x[rng.integers(0, 60, 300)]
    rows = ArrayRows(x)
    return PreparedRows(rows, fit_preprocessing(rows, metric="cosine", centring=False))


def fitter(bucket_bytes: int = splitting.BUCKET_BYTES) -> LevelFitter:
    spec = LevelSpec(n_clusters=240, n_coarse_clusters=12)
    return LevelFitter(level=1, spec=spec, metric="cosine", seed=3, bucket_bytes=bucket_bytes)


def arrays(level: Level) -> list[np.ndarray]:
    assert level.coarse is not None
    return [level.centroids, level.assignments, level.distances, level.coarse.of_cluster]


def test_each_coarse_cluster_is_split_by_itself(inputs: PreparedRows) -> None:
    """Against one fit after another, straight from the rows."""
    level, coarse = fitter().fit_initial(inputs), fitter().fit_coarse(inputs)
    centroids, of_cluster, n_clusters = [], [], 0
    for cluster in range(12):
        members = np.flatnonzero(coarse.assignments == cluster)
        fit = fit_kmeans(
            ArrayRows(inputs.take(members)),
            min(20, len(members)),
            metric="cosine",
            rng=generator(3, Purpose.SPLITTING, 1, cluster),
        )
        filled = np.flatnonzero(fit.sizes)
        np.testing.assert_array_equal(
            level.assignments[members], n_clusters + np.searchsorted(filled, fit.assignments)
        )
        np.testing.assert_array_equal(level.distances[members], fit.distances)
        centroids.append(fit.centroids[filled])
        of_cluster += [cluster] * len(filled)
        n_clusters += len(filled)
    np.testing.assert_array_equal(level.centroids, np.concatenate(centroids))
    assert level.coarse is not None
    assert level.coarse.of_cluster.tolist() == of_cluster
    assert n_clusters < 240, "no sub-cluster was dropped: the test proves less than it says"


@pytest.mark.parametrize("bucket_bytes", [1, 24 * 100, 2**30])
@pytest.mark.parametrize("threads", [1, 2])
def test_neither_buckets_nor_threads_change_a_split(
    inputs: PreparedRows, bucket_bytes: int, threads: int
) -> None:
    reference = arrays(fitter().fit_initial(inputs))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        level = fitter(bucket_bytes).fit_initial(inputs)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    for mine, theirs in zip(arrays(level), reference, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_lonely_coarse_cluster_is_not_copied_and_large_fits_have_all_threads(
    inputs: PreparedRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    seen: list[tuple[bool, int, int]] = []

    def fit(rows: Rows, n_clusters: int, cluster: int) -> KMeansFit:
        seen.append((rows is inputs, torch.get_num_threads(), cluster))
        return fitter().fit_cluster(rows, n_clusters, cluster)

    try:
        split_bucket(inputs, np.full(900, 7), 20, fit)
        assert seen == [(True, 1, 7)]
        seen.clear()
        monkeypatch.setattr(splitting, "_ALL_THREADS_WORK", 600 * 20 * 6)
        bucket = split_bucket(inputs, np.repeat([2, 1], [650, 250]), 20, fit)
        assert seen == [(False, 2, 2), (False, 1, 1)]
    finally:
        torch.set_num_threads(before)
    assert (np.diff(bucket.of_cluster) >= 0).all()
    assert set(bucket.of_cluster[bucket.assignments[:650]]) == {2}


def test_an_empty_bucket_has_no_sub_cluster(inputs: PreparedRows) -> None:
    empty = ArrayRows(inputs.take(np.array([], dtype=np.int64)))
    bucket = split_bucket(empty, np.array([], dtype=np.int64), 20, fitter().fit_cluster)
    assert bucket.centroids.shape == (0, 6)
    assert len(bucket.of_cluster) == len(bucket.assignments) == 0
