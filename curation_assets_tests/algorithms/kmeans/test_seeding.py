"""Seeds: the distribution of batched k-means++ is that of one-at-a-time sampling."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2

from curation_assets.algorithms.kmeans import seeding
from curation_assets.algorithms.kmeans.seeding import kmeans_plus_plus
from curation_assets.algorithms.rows import ArrayRows


def sequential(points: np.ndarray, k: int, rng: np.random.Generator) -> frozenset[int]:
    """Textbook k-means++."""
    chosen = [int(rng.integers(len(points)))]
    while len(chosen) < k:
        squared = ((points[:, None] - points[chosen]) ** 2).sum(-1).min(1)
        chosen.append(int(rng.choice(len(points), p=squared / squared.sum())))
    return frozenset(chosen)


def test_batches_have_the_distribution_of_sequential_sampling() -> None:
    points = np.array([[0, 0], [1, 0], [0, 3], [4, 4], [9, 0], [2, 7]], dtype=np.float32)
    k, n = 4, 1000
    rows, rng = ArrayRows(points), np.random.default_rng(0)
    batched = Counter(frozenset(kmeans_plus_plus(rows, k, rng, n_local_trials=1).tolist()) for _ in range(n))
    reference = Counter(sequential(points, k, rng) for _ in range(n))
    common = [seeds for seeds in {*batched, *reference} if batched[seeds] + reference[seeds] >= 20]
    statistic = sum((batched[s] - reference[s]) ** 2 / (batched[s] + reference[s]) for s in common)
    assert len(common) > 5
    assert statistic < chi2.ppf(0.9999, len(common))


def test_many_proposals_at_once_never_choose_a_row_twice() -> None:
    points = np.random.default_rng(1).normal(size=(2000, 8)).astype(np.float32)
    seeds = kmeans_plus_plus(ArrayRows(points), 700, np.random.default_rng(2), n_local_trials=1)
    assert len(np.unique(seeds)) == len(seeds) == 700


@pytest.mark.parametrize("n_local_trials", [1, 5])
def test_fewer_distinct_rows_than_seeds(n_local_trials: int) -> None:
    points = np.repeat(np.eye(3, dtype=np.float32), 4, axis=0)
    seeds = kmeans_plus_plus(ArrayRows(points), 6, np.random.default_rng(0), n_local_trials=n_local_trials)
    assert len(np.unique(seeds)) == 6
    assert len(np.unique(points[seeds[:3]], axis=0)) == 3


@pytest.mark.parametrize("n_local_trials", [1, 5])
def test_all_rows_can_be_seeds(n_local_trials: int) -> None:
    points = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    seeds = kmeans_plus_plus(ArrayRows(points), 20, np.random.default_rng(0), n_local_trials=n_local_trials)
    assert sorted(seeds.tolist()) == list(range(20))


@given(st.integers(0, 10_000))
def test_greedy_seeds_from_all_distances_at_once_are_the_same(seed: int) -> None:
    # Isolated rows in mirror images: they lower the total alike, but for rounding.
    half = np.random.default_rng(seed).integers(-9, 9, (12, 3)).astype(np.float32) / 7
    rows, found = ArrayRows(np.concatenate([half, -half, 100 * np.eye(3, dtype=np.float32)])), []
    for most in (0, 2000):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(seeding, "_MOST_ROWS_IN_PAIRS", most)
            found.append(kmeans_plus_plus(rows, 9, np.random.default_rng(seed), n_local_trials=4).tolist())
    assert found[0] == found[1]


def test_greedy_seeds_lie_closer_to_the_data() -> None:
    points = np.random.default_rng(0).normal(size=(3000, 2)).astype(np.float32)

    def inertia(n_local_trials: int, seed: int) -> float:
        rng = np.random.default_rng(seed)
        chosen = points[kmeans_plus_plus(ArrayRows(points), 100, rng, n_local_trials=n_local_trials)]
        return float(((points[:, None] - chosen) ** 2).sum(-1).min(1).sum())

    assert np.mean([inertia(8, s) for s in range(3)]) < np.mean([inertia(1, s) for s in range(3)])


@pytest.mark.parametrize("k", [0, 11])
def test_impossible_numbers_are_refused(k: int) -> None:
    with pytest.raises(ValueError, match=rf"n_clusters is {k}, .*from 1 to 10"):
        kmeans_plus_plus(ArrayRows(np.zeros((10, 2), dtype=np.float32)), k, np.random.default_rng(0))
