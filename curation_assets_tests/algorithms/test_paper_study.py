"""The paper's 2-D study (section 4.1) as a regression test: how evenly the top level's centroids spread."""

from __future__ import annotations

import numpy as np
import pytest

from curation_assets.algorithms import LevelSpec, fit_hierarchy
from curation_assets.algorithms.balance import kl_to_uniform

SEEDS = range(3)


def pool(seed: int) -> np.ndarray:
    """9,000 points: three blobs of very different size over a thin uniform background."""
    rng = np.random.default_rng(seed)
    blobs = [
        rng.normal(centre, 0.5, (n, 2)) for centre, n in (((-1, -1), 7000), ((1, -1), 1000), ((0, 1), 500))
    ]
    return np.concatenate([*blobs, rng.uniform(-3, 3, (500, 2))]).astype(np.float32)


def mean_kl(n_clusters: tuple[int, ...], *, steps: int) -> float:
    levels = [LevelSpec(n_clusters=k, samples_per_cluster=2, resampling_steps=steps) for k in n_clusters]
    trees = (fit_hierarchy(pool(seed), levels, metric="l2", seed=seed) for seed in SEEDS)
    return float(np.mean([kl_to_uniform(tree.levels[-1].centroids) for tree in trees]))


@pytest.fixture(scope="module")
def study() -> dict[str, float]:
    return {
        "raw": float(np.mean([kl_to_uniform(pool(seed)) for seed in SEEDS])),
        "1 level": mean_kl((300,), steps=0),
        "2 levels": mean_kl((1500, 300), steps=0),
        "3 levels": mean_kl((3000, 1000, 300), steps=0),
        "3 levels, resampled": mean_kl((3000, 1000, 300), steps=10),
    }


def test_every_level_and_resampling_spread_the_centroids(study: dict[str, float]) -> None:
    assert list(study.values()) == sorted(study.values(), reverse=True), study


def test_three_levels_with_resampling_are_as_even_as_a_uniform_draw(study: dict[str, float]) -> None:
    assert study["3 levels, resampled"] <= 0.045, study
