"""Water-filling: exact totals, even shares, quotas down a tree from any level."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.algorithms.randomness import Purpose, keyed_priorities
from curation_assets.algorithms.sampling.balanced import draw_budget
from curation_assets.algorithms.sampling.water_filling import Quotas, plan_quotas, water_fill

FROZEN = {
    "equal shares": "7635c26546db5fbfa9dca38bdb9983ff8032eced20e038f25ba638eaea9244dc",
    "unequal shares": "78a3f4f458e71a87a8c5c4169e899e75264e2bee140267e5e3a758a21e2c11ab",
}
"""Digests of plans: other values mean that pools get another selection."""
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


evennesses = st.sampled_from([0.0, 0.25, 0.5, 0.7, 0.75, 0.9, 1.0])


def random_tree(seed: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Sizes of 60 level-1 clusters, one of them large and some empty, below 12 and 4 clusters."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(0, 40, 60)
    sizes[0] += 300
    return sizes, [rng.integers(0, 12, 60), rng.integers(0, 4, 12)]


def test_shares_of_a_plan_worked_by_hand() -> None:
    sizes, parents = np.array([16, 256, 1, 16]), [np.array([0, 0, 1, 1])]
    # evenness 0.5: the top has sizes 272 and 17, so roots 16.49 and 4.12, 4 : 1; of 20 samples 16 and 4. Below, roots
    # 4 : 16 share 16; and of 1 and 16 the first would get 4 / 5, less than all it has.
    plan = plan_quotas(sizes, parents, 20, seed=0, evenness=0.5)
    np.testing.assert_allclose(plan.expected, [3.2, 12.8, 0.8, 3.2], rtol=1e-9)
    # evenness 1: 10 each; below, 5 each, and 1 of the one that has no more.
    plan = plan_quotas(sizes, parents, 20, seed=0)
    assert plan.quotas[0].tolist() == plan.expected.tolist() == [5, 5, 1, 9]
    # evenness 0: 20 / 289 of each.
    plan = plan_quotas(sizes, parents, 20, seed=0, evenness=0)
    np.testing.assert_allclose(plan.expected, sizes * 20 / 289, rtol=1e-12)


def test_the_target_is_shared_at_the_level_that_is_named() -> None:
    sizes, parents = np.array([100, 100, 100, 100]), [np.array([0, 0, 0, 1])]
    assert plan_quotas(sizes, parents, 60, seed=0).quotas[0].tolist() == [10, 10, 10, 30]
    low = plan_quotas(sizes, parents, 60, seed=0, balance_from=1)
    assert low.quotas[0].tolist() == low.expected.tolist() == [15, 15, 15, 15]
    assert low.quotas[1].tolist() == [45, 15]
    assert (low.balance_from, plan_quotas(sizes, parents, 60, seed=0).balance_from) == (1, 2)


def test_only_levels_that_share_out_can_run_out() -> None:
    sizes, parents = np.array([5, 5, 5, 5]), [np.array([0, 0, 1, 1])]
    from_the_top = plan_quotas(sizes, parents, 1, seed=0)
    without = int(np.flatnonzero(from_the_top.quotas[1] == 0)[0])
    assert sorted(from_the_top.ran_out_at(parents).tolist()) == [0, 1, 2, 2]
    assert from_the_top.ran_out_at(parents)[parents[0] == without].tolist() == [2, 2]
    assert sorted(plan_quotas(sizes, parents, 1, seed=0, balance_from=1).ran_out_at(parents).tolist()) == [
        0, 1, 1, 1,
    ]  # fmt: skip


@given(st.integers(0, 500), st.integers(1, 300), evennesses, st.sampled_from([None, 1, 2, 3]))
def test_plans_are_exact_at_every_level_and_within_one_of_their_shares(
    seed: int, target: int, evenness: float, balance_from: int | None
) -> None:
    sizes, parents = random_tree(seed)
    plan = plan_quotas(sizes, parents, target, seed=seed, balance_from=balance_from, evenness=evenness)
    assert [int(quota.sum()) for quota in plan.quotas] == [target] * 3
    shares = plan.expected
    for t in range(3):
        if t:
            shares = np.bincount(parents[t - 1], weights=shares, minlength=len(plan.sizes[t]))
            below = np.bincount(parents[t - 1], weights=plan.quotas[t - 1], minlength=len(plan.sizes[t]))
            np.testing.assert_array_equal(below, plan.quotas[t])
        assert (plan.quotas[t] >= 0).all()
        assert (plan.quotas[t] <= plan.sizes[t]).all()
        if evenness < 1:
            assert (np.abs(plan.quotas[t] - shares) < 1 + 1e-9).all()
    assert plan.expected.sum() == pytest.approx(target)
    np.testing.assert_array_equal(plan.expected > 0, sizes > 0)
    assert (plan.expected <= sizes).all()


@given(st.integers(0, 500), evennesses)
def test_more_is_expected_of_larger_clusters_and_of_larger_targets(seed: int, evenness: float) -> None:
    sizes, parents = random_tree(seed)
    n_samples = int(sizes.sum())
    before = np.zeros(60)
    for target in np.unique(np.linspace(1, n_samples, 7).astype(int)).tolist():
        expected = plan_quotas(sizes, parents, target, seed=0, evenness=evenness).expected
        assert (expected >= before * (1 - 1e-9)).all()
        before = expected
        for parent in range(12):
            mine = np.flatnonzero(parents[0] == parent)
            mine = mine[np.argsort(sizes[mine])]
            assert (np.diff(expected[mine]) >= -1e-9).all()
            # And a smaller part of what they have.
            parts = expected[mine][sizes[mine] > 0] / sizes[mine][sizes[mine] > 0]
            assert (np.diff(parts) <= 1e-9).all()
    np.testing.assert_array_equal(before, sizes)


@given(st.integers(0, 500), st.integers(1, 300))
def test_evenness_0_is_proportional(seed: int, target: int) -> None:
    sizes, parents = random_tree(seed)
    expected = plan_quotas(sizes, parents, target, seed=seed, evenness=0).expected
    np.testing.assert_allclose(expected, sizes * (target / sizes.sum()), rtol=1e-9)


def test_quotas_are_on_average_what_is_expected() -> None:
    sizes, parents = random_tree(3)
    plans = [plan_quotas(sizes, parents, 40, seed=seed, evenness=0.75) for seed in range(3000)]
    mean = np.mean([plan.quotas[0] for plan in plans], axis=0)
    # A quota is its share rounded up or down: the mean of 3,000 has a deviation of at most 0.5 / sqrt(3000).
    np.testing.assert_allclose(mean, plans[0].expected, atol=4 * 0.5 / 3000**0.5)
    assert len({plan.quotas[0].tobytes() for plan in plans}) > 100


def test_equal_shares_from_the_top_are_frozen() -> None:
    rng = np.random.default_rng(18)
    parents = [rng.integers(0, 60, 400), rng.integers(0, 12, 60)]
    clusters = rng.integers(0, 400, 20_000) * rng.integers(0, 400, 20_000) // 400
    sizes = np.bincount(clusters, minlength=400)
    tokens = rng.integers(0, 50, 20_000)
    priorities = keyed_priorities(np.arange(20_000), 7, Purpose.DRAW)
    digest = hashlib.sha256()
    for target in (1, 37, 900, 5000, 19_999):
        rows, in_tokens = draw_budget(clusters, priorities, tokens, 20 * target, 400, parents, seed=7)
        for plan in (plan_quotas(sizes, parents, target, seed=7, balance_from=3, evenness=1), in_tokens):
            for quota in plan.quotas:
                digest.update(quota.astype("<i8").tobytes())
        digest.update(rows.astype("<i8").tobytes())
    assert digest.hexdigest() == FROZEN["equal shares"]


def test_unequal_shares_are_frozen() -> None:
    rng = np.random.default_rng(18)
    parents = [rng.integers(0, 60, 400), rng.integers(0, 12, 60)]
    sizes = np.bincount(rng.integers(0, 400, 20_000) * rng.integers(0, 400, 20_000) // 400, minlength=400)
    digest = hashlib.sha256()
    for evenness in (0.0, 0.3, 0.75):
        for balance_from in (1, 2, 3):
            plan = plan_quotas(sizes, parents, 2000, seed=7, balance_from=balance_from, evenness=evenness)
            digest.update(plan.expected.astype("<f8").tobytes())
            digest.update(plan.quotas[0].astype("<i8").tobytes())
    assert digest.hexdigest() == FROZEN["unequal shares"]


@given(st.integers(0, 200), evennesses, st.sampled_from([None, 1, 2, 3]))
def test_budgets_of_tokens_follow_evenness_and_level(
    seed: int, evenness: float, balance_from: int | None
) -> None:
    rng = np.random.default_rng(seed)
    _, parents = random_tree(seed)
    clusters, tokens = (60 * rng.random(2000) ** 2).astype(np.int64), rng.integers(0, 30, 2000)
    priorities = keyed_priorities(np.arange(2000), seed, Purpose.DRAW)
    rows, plan = draw_budget(
        clusters,
        priorities,
        tokens,
        3000,
        60,
        parents,
        seed=seed,
        balance_from=balance_from,
        evenness=evenness,
    )
    sizes = np.bincount(clusters, weights=tokens, minlength=60).astype(np.int64)
    same = plan_quotas(sizes, parents, 3000, seed=seed, balance_from=balance_from, evenness=evenness)
    np.testing.assert_array_equal(plan.quotas[0], same.quotas[0])
    np.testing.assert_array_equal(plan.expected, same.expected)
    assert 3000 - 30 < tokens[rows].sum() <= 3000


def test_values_out_of_range_are_refused() -> None:
    def plan(**given: float) -> Quotas:
        return plan_quotas(np.array([2, 4]), [np.array([0, 0])], 3, seed=0, **given)  # type: ignore[arg-type]

    for level in (0, 3):
        with pytest.raises(ValueError, match=f"balance_from is {level}, but the tree has 2 levels"):
            plan(balance_from=level)
    for evenness in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match=f"evenness is {evenness}: use a value from 0"):
            plan(evenness=evenness)
