"""Hierarchical sampling: hand-worked cuts, and totals that are exact for every tree."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.algorithms.randomness import Purpose, keyed_priorities
from curation_assets.algorithms.sampling import balanced as sampling
from curation_assets.algorithms.sampling.balanced import draw, plan_quotas, water_fill
from curation_assets.algorithms.sampling.ordering import sorted_blocks

sizes_and_target = st.lists(st.integers(0, 60), min_size=1, max_size=30).flatmap(
    lambda sizes: st.tuples(
        st.just(sizes), st.integers(0, max(1, sum(sizes))).filter(lambda n: n <= sum(sizes))
    )
)


def fill(sizes: list[int], quota: int) -> list[int]:
    parents, priorities = np.zeros(len(sizes), dtype=np.int64), np.arange(len(sizes))
    return water_fill(np.array(sizes), parents, np.array([quota]), priorities).tolist()


def test_small_clusters_give_all_and_large_ones_the_cut() -> None:
    assert fill([1, 2, 10, 20], 9) == [1, 2, 3, 3]
    assert fill([1, 2, 10, 20], 10) == [1, 2, 4, 3]  # the one left over goes to the smallest priority
    assert fill([1, 2, 10, 20], 33) == [1, 2, 10, 20]
    assert fill([5, 5, 5], 2) == [1, 1, 0]
    assert fill([0, 4], 0) == [0, 0]


def test_children_share_their_own_parents_quota() -> None:
    sizes, parents = np.array([4, 9, 1, 8, 7]), np.array([1, 0, 1, 0, 1])
    assert water_fill(sizes, parents, np.array([10, 6]), np.arange(5)).tolist() == [3, 5, 1, 5, 2]


@given(sizes_and_target, st.integers(0, 100))
def test_a_fill_is_exact_and_even(case: tuple[list[int], int], seed: int) -> None:
    sizes, quota = np.array(case[0]), case[1]
    priorities = keyed_priorities(np.arange(len(sizes)), seed, Purpose.QUOTA_REMAINDER)
    result = water_fill(sizes, np.zeros(len(sizes), dtype=np.int64), np.array([quota]), priorities)
    assert result.sum() == quota
    assert (result <= sizes).all()
    assert (result >= 0).all()
    cut_off = result[result < sizes]
    if len(cut_off):
        assert cut_off.max() - cut_off.min() <= 1
        assert result.max() <= cut_off.min() + 1


@given(st.integers(0, 500), st.integers(1, 300))
def test_quotas_down_a_tree_are_exact_at_every_level(seed: int, target: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(0, 40, 60)
    sizes[0] += 300
    parents = [rng.integers(0, 12, 60), rng.integers(0, 4, 12)]
    plan = plan_quotas(sizes, parents, target, seed=seed)
    assert [int(quota.sum()) for quota in plan.quotas] == [target] * 3
    for t, parent in enumerate(parents):
        np.testing.assert_array_equal(
            np.bincount(parent, weights=plan.quotas[t], minlength=len(plan.quotas[t + 1])), plan.quotas[t + 1]
        )
        assert (plan.quotas[t] <= plan.sizes[t]).all()


@given(st.integers(0, 500))
def test_a_draw_fills_its_quotas_whatever_the_order_of_the_rows(seed: int) -> None:
    rng = np.random.default_rng(seed)
    clusters, keys = rng.integers(0, 8, 200), np.arange(200)
    quotas = np.minimum(np.bincount(clusters, minlength=8), rng.integers(0, 30, 8))
    chosen = draw(clusters, keyed_priorities(keys, seed, Purpose.DRAW), quotas)
    np.testing.assert_array_equal(np.bincount(clusters[chosen], minlength=8), quotas)
    assert len(np.unique(chosen)) == len(chosen)
    order = rng.permutation(200)
    again = draw(clusters[order], keyed_priorities(keys[order], seed, Purpose.DRAW), quotas)
    assert sorted(order[again].tolist()) == chosen.tolist()


@given(st.integers(0, 10_000), st.sampled_from(["random", "closest"]))
def test_a_draw_is_what_sorting_each_cluster_gives(seed: int, strategy: str) -> None:
    rng = np.random.default_rng(seed)
    n, k = int(rng.integers(1, 400)), int(rng.integers(1, 40))
    clusters = (k * rng.random(n) ** 4).astype(np.int32)
    quotas = np.minimum(np.bincount(clusters, minlength=k), rng.integers(0, 12, k))
    distances = np.round(rng.random(n).astype(np.float32), 1)  # ties go by row number
    priorities = keyed_priorities(np.arange(n), seed, Purpose.DRAW) if strategy == "random" else distances
    expected = []
    for cluster in range(k):
        rows = sorted(np.flatnonzero(clusters == cluster).tolist(), key=lambda row: (priorities[row], row))
        expected += rows[: quotas[cluster]]
    assert draw(clusters, priorities, quotas).tolist() == sorted(expected)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sampling, "sorted_blocks", partial(sorted_blocks, block_rows=9))
        assert draw(clusters, priorities, quotas).tolist() == sorted(expected)


@given(st.integers(0, 10_000))
def test_quotas_are_those_of_filling_one_parent_after_another(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes, parents = rng.integers(0, 9, 50), rng.integers(0, 6, 50)
    available = np.bincount(parents, weights=sizes, minlength=6).astype(np.int64)
    given_quotas = rng.integers(0, available + 1)
    priorities = rng.permutation(50)
    result = water_fill(sizes, parents, given_quotas, priorities)
    for parent, quota in enumerate(given_quotas.tolist()):
        children = np.flatnonzero(parents == parent).tolist()
        shares = dict.fromkeys(children, 0)
        # One sample at a time to a child that has the least so far and more to give.
        for _ in range(quota):
            able = [child for child in children if shares[child] < sizes[child]]
            least = min(able, key=lambda child: (shares[child], priorities[child]))
            shares[least] += 1
        assert {child: int(result[child]) for child in children} == shares


def test_impossible_quotas_are_refused() -> None:
    with pytest.raises(ValueError, match="cluster 0 is 7, but only 6 samples"):
        fill([2, 4], 7)
    with pytest.raises(ValueError, match=r"target_size is 7, .*from 1 to 6"):
        plan_quotas(np.array([2, 4]), [], 7, seed=0)
