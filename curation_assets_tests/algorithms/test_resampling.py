"""Resampling: which rows of each cluster the next fit sees."""

from __future__ import annotations

import numpy as np
import pytest

from curation_assets.algorithms.resampling import ResampledSubset, rank_in_group, resample

ASSIGNMENTS = np.array([0, 1, 0, 0, 2, 0])
DISTANCES = np.array([0.3, 0.5, 0.1, 0.2, 0.0, 0.1], dtype=np.float32)


def run(k: int = 3, r: int = 2, strategy: str = "closest", seed: int = 0) -> ResampledSubset:
    return resample(
        ASSIGNMENTS,
        DISTANCES,
        n_clusters=k,
        samples_per_cluster=r,
        strategy=strategy,  # type: ignore[arg-type]
        rng=np.random.default_rng(seed),
    )


def test_the_closest_come_first_and_small_clusters_repeat_theirs() -> None:
    subset = run()
    assert subset.clusters.tolist() == [0, 0, 1, 1, 2, 2]
    assert subset.ranks.tolist() == [0, 1, 0, 1, 0, 1]
    assert subset.rows.tolist() == [2, 5, 1, 1, 4, 4]


def test_random_rows_stay_inside_their_cluster() -> None:
    drawn = {tuple(run(strategy="random", seed=seed).rows[:2].tolist()) for seed in range(40)}
    assert all(ASSIGNMENTS[list(rows)].tolist() == [0, 0] and rows[0] != rows[1] for rows in drawn)
    assert len(drawn) > 5


def test_more_are_kept_where_clusters_are_empty() -> None:
    subset = run(k=6, r=1)
    assert len(np.unique(subset.rows)) == 6


def test_copies_of_one_row_do_not_multiply_the_small_clusters() -> None:
    # Half of the clusters hold one row, one holds everything else, the rest is empty.
    k = 200
    assignments = np.concatenate([np.arange(100), np.full(1000, 100)])
    subset = resample(
        assignments,
        np.zeros(len(assignments), dtype=np.float32),
        n_clusters=k,
        samples_per_cluster=2,
        strategy="closest",
        rng=np.random.default_rng(0),
    )
    assert len(np.unique(subset.rows)) == k
    assert np.bincount(subset.clusters).tolist() == [2] * 100 + [100]


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="samples_per_cluster is 0"):
        run(r=0)
    with pytest.raises(ValueError, match="strategy must be"):
        run(strategy="furthest")
    with pytest.raises(ValueError, match="only 6 input rows"):
        run(k=7)


def test_rank_in_group() -> None:
    assert rank_in_group(np.array([2, 0, 3])).tolist() == [0, 1, 0, 1, 2]
