"""The planner: sizes that shrink, and fits that keep within their memory."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.algorithms import LevelSpec
from curation_assets.algorithms.costs.planning import (
    fit_memory,
    fixed_bytes,
    plan_n_clusters,
)


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
