"""The planner: sizes that shrink, and fits that keep within their memory."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.algorithms import LevelSpec, plan_levels
from curation_assets.algorithms.costs.planning import (
    fit_memory,
    fixed_bytes,
)


def sizes(n_samples: int, n_levels: int = 4, target_size: int | None = None) -> list[int]:
    return [level.n_clusters for level in plan_levels(n_samples, n_levels, target_size)]


@given(st.integers(1, 5), st.integers(1, 10**10), st.none() | st.integers(1, 10**9))
def test_planned_levels_shrink_and_fit_the_pool(n_levels: int, n_samples: int, target: int | None) -> None:
    plan = sizes(n_samples, n_levels, target)
    assert 1 <= len(plan) <= n_levels
    assert 1 <= plan[0] <= max(1, n_samples // 2)
    assert all(below >= 1.7 * above for below, above in itertools.pairwise(plan))
    if target is not None:
        assert plan[0] <= max(2 * target, 120)
    if n_samples >= 8 and n_levels > 1:
        assert len(plan) > 1
        assert plan[-1] >= min(60, n_samples // 4), "no top that is too small to be even"
    if n_samples >= 8 and n_levels > 2:
        assert plan[1] == plan[0] // 2


def test_levels_go_with_the_target_and_the_root_of_the_pool() -> None:
    assert sizes(3792, target_size=379) == [758, 379, 152, 61]
    assert sizes(20_000, target_size=2000) == sizes(20_000) == [4000, 2000, 531, 141]
    assert sizes(20_000, 3) == [4000, 2000, 141]
    assert sizes(20_000, 2) == [4000, 141]
    assert sizes(20_000, 1) == [4000]


def test_level_1_of_a_large_pool_or_target_stops_at_a_power_of_the_rows() -> None:
    assert sizes(20_000, target_size=10_000) == [7368, 3684, 721, 141]
    assert sizes(200_000, target_size=20_000)[0] == round(10 * 200_000 ** (2 / 3)) == 34_200
    assert sizes(743_000_000) == [8_203_375, 4_101_687, 334_371, 27_258]


def test_levels_that_would_hardly_differ_are_left_out() -> None:
    assert sizes(2000, target_size=200) == [400, 200, 110, 60]
    assert sizes(1500, target_size=150) == [300, 150, 60], "four levels would differ by 1.58 at the top"
    assert sizes(1000, target_size=100) == [200, 100], "three levels would differ by 1.67"
    assert sizes(10**6, target_size=500) == [1000, 500], "level 2 is smaller than the root of the pool"


def test_tiny_pools_have_as_many_clusters_as_they_can_fill() -> None:
    assert sizes(10_000, target_size=5) == [120, 60]
    assert sizes(100) == [50, 25]
    assert sizes(24) == [12, 6]
    assert sizes(7) == [3]
    assert sizes(1) == [1]


def test_planned_levels_have_the_defaults_of_any_other() -> None:
    steps = [level.steps_at(t) for t, level in enumerate(plan_levels(20_000), start=1)]
    assert steps == [0, 10, 10, 10]


@pytest.mark.parametrize("arguments", [(0, 4, None), (10, 0, None), (10, 4, 0)])
def test_counts_below_one_are_refused(arguments: tuple[int, int, int | None]) -> None:
    with pytest.raises(ValueError, match=r"(n_samples|n_levels|target_size) is 0, but must be at least 1"):
        plan_levels(*arguments)


def test_what_a_fit_needs_beside_the_rows_has_to_fit_the_budget() -> None:
    flat = LevelSpec(n_clusters=10**6, resampling_steps=0)
    with pytest.raises(
        ValueError, match=r"memory_budget is 4\.00 GB.*1,000,000 clusters needs at least 32\.\d\d GB"
    ):
        fit_memory(4 * 10**9, 10**7, 768, flat)
    split = LevelSpec(n_clusters=10**6, n_coarse_clusters=1000)
    memory = fit_memory(12 * 10**9, 10**7, 768, split)
    assert 0 < memory.resident_bytes < 11 * 10**9
    assert fit_memory(16 * 10**9, 10**7, 768, split).resident_bytes == memory.resident_bytes + 4 * 10**9


def test_what_a_process_and_a_worker_take_beside_the_rows() -> None:
    spec = LevelSpec(n_clusters=1000)
    # 1.05 GB, 100 bytes a row, 40 bytes a value of the centroids, four chunks; a worker has 32 bytes.
    assert fixed_bytes(10**6, 100, spec, 10**6) == 1050 * 10**6 + 100 * 10**6 + 40 * 10**5 + 4 * 10**6
    assert (
        fixed_bytes(10**6, 100, spec, 10**6, is_shared=True)
        == 1050 * 10**6 + 100 * 10**6 + 32 * 10**5 + 4 * 10**6
    )
    split = LevelSpec(n_clusters=1000, n_coarse_clusters=10)
    assert (
        fixed_bytes(10**6, 100, split, 10**6, is_shared=True)
        == 1050 * 10**6 + 100 * 10**6 + 32 * 10**3 + 4 * 10**6
    )
