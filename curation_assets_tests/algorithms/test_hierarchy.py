"""The hierarchy as a library: shapes, determinism, split levels, new rows, refused settings."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from curation_assets.algorithms import LevelSpec, effective_number, fit_hierarchy, sample_balanced
from curation_assets.algorithms.rows import ArrayRows


@pytest.fixture(scope="module")
def pool() -> np.ndarray:
    """1,500 rows of 30 directions with very uneven shares."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(30, 12))
    shares = 1 / np.arange(1, 31) ** 1.5
    concept = rng.choice(30, 1500, p=shares / shares.sum())
    return (centres[concept] + 0.3 * rng.normal(size=(1500, 12))).astype(np.float16)


LEVELS = [
    LevelSpec(n_clusters=150, resampling_steps=2, samples_per_cluster=4),
    LevelSpec(n_clusters=40, resampling_steps=2),
    LevelSpec(n_clusters=10, resampling_steps=0),
]


def test_levels_cluster_the_centroids_below(pool: np.ndarray) -> None:
    tree = fit_hierarchy(pool, LEVELS, metric="cosine", seed=0)
    assert [level.centroids.shape for level in tree.levels] == [(150, 12), (40, 12), (10, 12)]
    assert [len(level.assignments) for level in tree.levels] == [1500, 150, 40]
    assert [len(level.inertias) for level in tree.levels] == [3, 3, 1]
    for level in tree.levels:
        np.testing.assert_allclose(np.linalg.norm(level.centroids, axis=1), 1, atol=1e-6)
        assert level.distances.min() >= 0
    first, top = tree.levels[0].resampled, tree.levels[2].resampled
    assert first is not None
    assert top is None
    assert first.ranks.max() == 3


def test_new_rows_are_assigned_as_the_fitted_ones(pool: np.ndarray) -> None:
    tree = fit_hierarchy(pool, LEVELS, centring=True, seed=1)
    assert tree.rows is not None
    assert tree.rows.n_rows == len(pool)
    np.testing.assert_array_equal(tree.assign(pool), tree.row_clusters())
    np.testing.assert_array_equal(tree.assign(ArrayRows(pool[7:9])), tree.row_clusters()[7:9])
    with pytest.raises(ValueError, match="5 dimensions, the tree was fitted on 12"):
        tree.assign(pool[:, :5])
    with pytest.raises(ValueError, match="not finite"):
        tree.assign(np.full((1, 12), np.nan, dtype=np.float32))


def test_the_same_seed_gives_the_same_bytes(pool: np.ndarray) -> None:
    def selected(x: np.ndarray, threads: int, seed: int = 3) -> bytes:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        tree = fit_hierarchy(x, LEVELS, seed=seed)
        torch.set_num_threads(before)
        return sample_balanced(tree, 200, seed=seed).tobytes()

    reference = selected(pool, 1)
    assert selected(pool, 2) == reference
    assert selected(pool.astype(np.float32), 1) == reference
    assert selected(pool, 1, seed=4) != reference


def test_a_balanced_draw_is_more_even_than_a_random_one(pool: np.ndarray) -> None:
    tree = fit_hierarchy(pool, LEVELS, seed=0)
    top = tree.row_clusters()[:, -1]
    from_top = sample_balanced(tree, 150, balance_from=len(LEVELS), evenness=1, seed=0)
    balanced = effective_number(np.bincount(top[from_top]))
    random = effective_number(np.bincount(top[np.random.default_rng(0).choice(1500, 150, replace=False)]))
    assert balanced > 1.2 * random
    closest = sample_balanced(tree, 150, strategy="closest", seed=0)
    distances = tree.levels[0].distances
    assert distances[closest].mean() < distances[sample_balanced(tree, 150, seed=0)].mean()


def test_a_split_level_splits_inside_its_coarse_clusters(pool: np.ndarray) -> None:
    levels = [LevelSpec(n_clusters=120, n_coarse_clusters=12), LevelSpec(n_clusters=10, resampling_steps=1)]
    tree = fit_hierarchy(pool, levels, seed=0)
    level = tree.levels[0]
    assert level.coarse is not None
    assert level.n_clusters <= 120
    assert np.bincount(level.assignments, minlength=level.n_clusters).min() > 0
    assert (np.diff(level.coarse.of_cluster) >= 0).all()
    np.testing.assert_array_equal(tree.assign(pool), tree.row_clusters())


def test_l2_keeps_lengths() -> None:
    x = np.array([[0.0], [1.0], [100.0], [101.0]], dtype=np.float32)
    specs = [
        LevelSpec(n_clusters=2, samples_per_cluster=2, resampling_steps=10),
        LevelSpec(n_clusters=1, resampling_steps=0),
    ]
    tree = fit_hierarchy(x, specs, metric="l2")
    assert sorted(tree.levels[0].centroids[:, 0].tolist()) == [0.5, 100.5]
    assert tree.levels[1].centroids.tolist() == [[50.5]]


def test_level_1_is_resampled_only_if_asked_and_every_other_level_is() -> None:
    x = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
    plain = fit_hierarchy(x, [LevelSpec(n_clusters=40), LevelSpec(n_clusters=5)])
    assert [len(level.inertias) for level in plain.levels] == [1, 11]
    asked = fit_hierarchy(x, [LevelSpec(n_clusters=40, resampling_steps=2), LevelSpec(n_clusters=5)])
    assert [len(level.inertias) for level in asked.levels] == [3, 11]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_clusters": 0}, "n_clusters is 0, but must be at least 1"),
        ({"n_clusters": 9, "samples_per_cluster": 0}, "samples_per_cluster is 0"),
        ({"n_clusters": 9, "strategy": "far"}, "strategy is 'far'"),
        ({"n_clusters": 9, "n_coarse_clusters": 4}, "a divisor of 9"),
        ({"n_clusters": 8, "n_coarse_clusters": 4, "resampling_steps": 1}, "0 in a split level"),
        ({"n_clusters": 8, "tolerance": 1.0}, "tolerance is 1.0"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LevelSpec(**settings)  # type: ignore[arg-type]


def test_impossible_pools_are_refused(pool: np.ndarray) -> None:
    with pytest.raises(ValueError, match="level 1: n_clusters is 2,000, but the level has only 1,500 inputs"):
        fit_hierarchy(pool, [LevelSpec(n_clusters=2000)])
    with pytest.raises(ValueError, match="level 2 has n_clusters=20"):
        fit_hierarchy(pool, [LevelSpec(n_clusters=20), LevelSpec(n_clusters=20)])
    with pytest.raises(ValueError, match="levels is empty"):
        fit_hierarchy(pool, [])
    with pytest.raises(ValueError, match="float array of shape"):
        fit_hierarchy(np.zeros(3), [LevelSpec(n_clusters=1)])
    tree = fit_hierarchy(pool[:50], [LevelSpec(n_clusters=5)])
    with pytest.raises(ValueError, match="use a value from 1 to 50"):
        sample_balanced(tree, 51)
    with pytest.raises(ValueError, match="strategy must be"):
        sample_balanced(tree, 5, strategy="furthest")  # type: ignore[arg-type]
