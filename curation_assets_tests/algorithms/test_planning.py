"""The planner: sizes that shrink, and costs that grow as they should."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.algorithms import LevelSpec
from curation_assets.algorithms.planning import estimate_cost, plan_n_clusters


@given(st.integers(1, 5), st.integers(64, 10**10))
def test_planned_levels_shrink_and_fit_the_pool(n_levels: int, n_samples: int) -> None:
    plan = plan_n_clusters(n_samples, n_levels)
    assert len(plan) == n_levels
    assert all(below > above >= 1 for below, above in zip([n_samples, *plan], plan, strict=False))


def test_ratios_lie_between_5_and_20_for_pools_that_allow_it() -> None:
    plan = [743_000_000, *plan_n_clusters(743_000_000, 4)]
    assert all(5 <= below / above <= 20.1 for below, above in itertools.pairwise(plan))


def test_too_small_pools_are_refused() -> None:
    with pytest.raises(ValueError, match="too few for 4 levels"):
        plan_n_clusters(31, 4)


def test_costs_grow_with_the_pool_and_fall_with_a_split() -> None:
    flat = [LevelSpec(n_clusters=10_000, resampling_steps=0)]
    split = [LevelSpec(n_clusters=10_000, n_coarse_clusters=100)]
    small, large = (estimate_cost(n, 64, flat).distance_computations for n in (10**6, 2 * 10**6))
    assert large == pytest.approx(2 * small)
    assert estimate_cost(10**6, 64, split).distance_computations < small / 20
    assert estimate_cost(10**6, 64, flat).embeddings_bytes == 128 * 10**6
