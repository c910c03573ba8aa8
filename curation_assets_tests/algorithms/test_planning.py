"""The planner: sizes that shrink, and costs that grow as they should."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.algorithms import LevelSpec
from curation_assets.algorithms.planning import estimate_cost, fit_memory, plan_n_clusters


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


def test_rows_are_held_if_they_fit_the_budget() -> None:
    spec = LevelSpec(n_clusters=5000, resampling_steps=1)
    large, small = (estimate_cost(5 * 10**6, 384, [spec], memory_budget=b * 10**9) for b in (12, 2))
    assert (large.rows_resident, small.rows_resident) == (True, False)
    assert 7.7e9 < large.memory_bytes < 12e9
    assert small.memory_bytes == 2 * 10**9
    sampled = estimate_cost(5 * 10**6, 384, [spec], memory_budget=2 * 10**9, fit_rows=500_000)
    assert sampled.rows_resident
    assert sampled.distance_computations < small.distance_computations / 4
    assert sampled.distance_computations > 4.5e6 * 5000, "all rows are assigned"


def test_what_a_fit_needs_beside_the_rows_has_to_fit_the_budget() -> None:
    flat = LevelSpec(n_clusters=10**6, resampling_steps=0)
    with pytest.raises(
        ValueError, match=r"memory_budget is 4\.00 GB.*1,000,000 clusters needs at least 2\d\.\d\d GB"
    ):
        fit_memory(4 * 10**9, 10**7, 768, flat)
    split = LevelSpec(n_clusters=10**6, n_coarse_clusters=1000)
    memory = fit_memory(12 * 10**9, 10**7, 768, split)
    assert 0 < memory.resident_bytes < 11 * 10**9
    assert fit_memory(16 * 10**9, 10**7, 768, split).resident_bytes == memory.resident_bytes + 4 * 10**9
