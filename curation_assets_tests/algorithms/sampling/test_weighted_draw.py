"""Budgets of weight: hand-worked draws, and totals that come within one row of the budget for every pool."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.algorithms.hierarchy import LevelSpec, fit_hierarchy
from curation_assets.algorithms.randomness import Purpose, keyed_priorities
from curation_assets.algorithms.sampling.balanced import draw_budget, sample_balanced
from curation_assets.algorithms.sampling.ordering import group_sums
from curation_assets.algorithms.sampling.water_filling import water_fill
from curation_assets.algorithms.sampling.weighted_draw import draw_weighted, spendable_weights

LENGTHS = {
    "long-tailed": lambda rng, n: np.ceil(rng.pareto(1.1, n) * 20 + 1).astype(np.int64),
    "uniform": lambda rng, n: rng.integers(1, 60, n),
    "equal": lambda rng, n: np.full(n, 17),
    "one giant": lambda rng, n: np.append(rng.integers(10, 30, n - 1), 25 * n),
    "some empty": lambda rng, n: rng.integers(0, 3, n) * rng.integers(1, 50, n),
}


def drawn(clusters: list[int], weights: list[int], quotas: list[int]) -> list[int]:
    """Rows taken, in the order of their numbers."""
    n_rows = len(clusters)
    rows = draw_weighted(np.array(clusters), np.arange(n_rows), np.array(quotas), np.array(weights))
    return rows.tolist()


def test_clusters_fill_at_the_same_pace() -> None:
    # Seven rows of 15 begin within the quota of cluster 0, ten of 10 within that of cluster 1: 205 in all. The last
    # of both begin at 0.9 of their quotas; the one of cluster 0 has priority, and the other no longer fits.
    rows = drawn([0] * 8 + [1] * 15, [15] * 8 + [10] * 15, [100, 100])
    assert rows == [*range(7), *range(8, 17)]


def test_which_row_is_taken_does_not_depend_on_its_weight() -> None:
    rng = np.random.default_rng(0)
    n_clusters, n_rows = 2_000, 40_000
    clusters = rng.integers(0, n_clusters, n_rows)
    weights = np.maximum(rng.lognormal(5, 1, n_rows), 1).astype(np.int64)
    parents = [rng.integers(0, 100, n_clusters), rng.integers(0, 10, 100)]
    priorities = keyed_priorities(np.arange(n_rows), 0, Purpose.DRAW)
    for rows_per_cluster in (0.2, 1, 5):
        budget = int(rows_per_cluster * n_clusters * weights.mean())
        rows, plan = draw_budget(clusters, priorities, weights, budget, n_clusters, parents, seed=0)
        assert weights[rows].mean() == pytest.approx(weights.mean(), rel=0.1)
        top = parents[1][parents[0][clusters[rows]]]
        assert (np.abs(group_sums(top, 10, weights[rows]) - plan.quotas[2]) < 0.05 * budget).all()


def test_clusters_without_children_at_the_end_of_a_level_are_no_trouble() -> None:
    clusters, weights = np.repeat([0, 1], 50), np.full(100, 3)
    # Cluster 2 of level 2 has no children, cluster 1 of level 3 only that one.
    parents = [np.array([0, 1]), np.array([0, 0, 1])]
    rows, _ = draw_budget(clusters, np.arange(100), weights, 60, 2, parents, seed=0)
    assert np.bincount(clusters[rows]).tolist() == [10, 10]


def test_what_is_left_over_goes_where_most_of_a_row_is_left() -> None:
    # Rows of more than a tenth of the budget get what is left over, and here that is everything.
    assert drawn([0, 0, 0, 0], [3, 4, 5, 2], [8]) == [0, 1]
    # The 5 no longer fits into the 2 that are left, so the row behind it is looked at.
    assert drawn([0, 0, 0, 0], [3, 4, 5, 2], [9]) == [0, 1, 3]
    # Cluster 0 has 2 of the 10 of its next row left, cluster 1 has 6 of 8: together just enough for the latter.
    clusters, weights = [0, 0, 0, 1, 1, 1], [8, 10, 10, 4, 8, 9]
    assert drawn(clusters, weights, [10, 10]) == [0, 3, 4]
    # With 1 more in cluster 0 the rest still goes to nobody: the lightest row left weighs 9, and 1 is left.
    assert drawn(clusters, weights, [11, 10]) == [0, 3, 4]


def test_rows_without_weight_and_clusters_without_a_quota_are_left_alone() -> None:
    assert drawn([0, 0, 1, 1], [0, 5, 3, 0], [5, 3]) == [1, 2]
    # 4 is left over, and a row of 1 would fit: but cluster 1 was given no share.
    assert drawn([0, 0, 1], [6, 9, 1], [10, 0]) == [0]


def test_a_row_too_heavy_for_the_budget_does_not_block_its_cluster() -> None:
    weights = np.array([900, *[10] * 50, *[10] * 50])
    clusters = np.array([0] * 51 + [1] * 50)
    rows, plan = draw_budget(clusters, np.arange(101), weights, 300, 2, [], seed=0)
    assert weights[rows].sum() == 300
    assert plan.quotas[0].tolist() == [150, 150]
    assert np.bincount(clusters[rows]).tolist() == [15, 15]
    # One that fits the budget, but not its cluster's quota, gives way as well once the rest is too little.
    weights[0] = 290
    rows, _ = draw_budget(clusters, np.arange(101), weights, 300, 2, [], seed=0)
    assert (weights[rows].sum(), 0 in rows) == (300, False)
    assert np.bincount(clusters[rows]).tolist() == [15, 15]


@given(st.sampled_from(sorted(LENGTHS)), st.integers(0, 10_000), st.integers(1, 40), st.floats(0.001, 1.0))
def test_the_total_is_within_one_row_of_the_budget(
    lengths: str, seed: int, n_clusters: int, share: float
) -> None:
    rng = np.random.default_rng(seed)
    n_rows = int(rng.integers(2, 300))
    weights = LENGTHS[lengths](rng, n_rows)
    weights[0] += not weights.any()
    clusters = (n_clusters * rng.random(n_rows) ** 3).astype(np.int64)
    parents = [rng.integers(0, 3, n_clusters)]
    lightest = int(weights[weights > 0].min())
    budget = max(lightest, int(share * weights.sum()))
    priorities = keyed_priorities(np.arange(n_rows), seed, Purpose.DRAW)
    rows, plan = draw_budget(clusters, priorities, weights, budget, n_clusters, parents, seed=seed)
    assert len(np.unique(rows)) == len(rows)
    assert (weights[rows] > 0).all()
    assert (plan.quotas[0][clusters[rows]] > 0).all(), "no row of a cluster without a share"
    missing = budget - int(weights[rows].sum())
    assert missing >= 0
    shared = (plan.quotas[0] > 0)[clusters] | (weights > budget)
    left = np.setdiff1d(np.flatnonzero(shared & (weights > 0)), rows)
    if len(left):
        assert missing < weights[left].min()
    else:
        assert missing == 0
    order = rng.permutation(n_rows)
    again, _ = draw_budget(
        clusters[order], priorities[order], weights[order], budget, n_clusters, parents, seed=seed
    )
    assert sorted(order[again].tolist()) == rows.tolist(), "the order of the rows decides nothing"


def plainly_drawn(
    clusters: list[int],
    priorities: list[float],
    quotas: list[int],
    weights: list[int],
    parents: list[list[int]],
) -> list[int]:
    """`draw_weighted` in lists, row by row."""
    chosen: set[int] = set()
    left = dict.fromkeys(range(len(quotas)), 0)
    queues: dict[int, list[int]] = {}
    for cluster, quota in enumerate(quotas):
        rows = [row for row, c in enumerate(clusters) if c == cluster and weights[row]]
        if quota >= sum(weights[row] for row in rows):
            chosen.update(rows)
        elif quota:
            queues[cluster] = sorted(rows, key=lambda row: (priorities[row], row))
            left[cluster] = quota
    queue_of = {c: [row for row in q if weights[row] <= sum(quotas) // 10] for c, q in queues.items()}
    room = dict(left)
    for parent in [*parents, [0] * (max(parents[-1]) + 1 if parents else len(quotas))]:
        merged: dict[int, list[tuple[float, float, int]]] = {}
        for group in sorted(queue_of):
            begin = 0
            for row in queue_of[group]:
                if begin < room[group]:
                    merged.setdefault(parent[group], []).append((begin / room[group], priorities[row], row))
                begin += weights[row]
        queue_of = {p: [row for *_, row in sorted(rows, key=lambda r: r[:2])] for p, rows in merged.items()}
        room = {p: sum(room[g] for g in room if parent[g] == p) for p in {parent[g] for g in room}}
    total = sum(left.values())
    for row in queue_of.get(0, []):
        if weights[row] > total:
            break
        total -= weights[row]
        left[clusters[row]] -= weights[row]
        chosen.add(row)
    while True:
        total = sum(left.values())
        waiting = {c: [r for r in q if r not in chosen and weights[r] <= total] for c, q in queues.items()}
        queues = waiting = {c: q for c, q in waiting.items() if q}
        if not waiting:
            return sorted(chosen)
        taken = plain_runs(waiting, left, weights, total) if total >= len(waiting) else []
        if not taken:
            heads = [(-left[c] / weights[q[0]], priorities[q[0]], c) for c, q in sorted(waiting.items())]
            spent = 0
            for *_, c in sorted(heads):
                if (spent := spent + weights[waiting[c][0]]) > total:
                    break
                taken.append(waiting[c][0])
        for row in taken:
            left[clusters[row]] -= weights[row]
            chosen.add(row)


def plain_runs(
    waiting: dict[int, list[int]], left: dict[int, int], weights: list[int], total: int
) -> list[int]:
    """Rows that each cluster takes by itself, within its share of what remains."""
    able = sorted(waiting)
    own = [max(left[c], 0) for c in able]
    claimed = min(sum(own), total)
    zeros = np.zeros(len(able), dtype=np.int64)
    shares = water_fill(np.array(own), zeros, np.array([claimed]), np.arange(len(able))).tolist()
    taken = []
    for c, share in zip(able, shares, strict=True):
        spent = 0
        for row in waiting[c]:
            if (spent := spent + weights[row]) > share + (total - claimed) // len(able):
                break
            taken.append(row)
    return taken


@given(st.sampled_from(sorted(LENGTHS)), st.integers(0, 10_000), st.floats(0.01, 1.0), st.booleans())
def test_a_draw_is_that_of_going_row_by_row(lengths: str, seed: int, share: float, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    n_rows, n_clusters = int(rng.integers(2, 120)), int(rng.integers(1, 25))
    weights = LENGTHS[lengths](rng, n_rows).astype(rng.choice([np.int64, np.uint32]))
    weights[0] += not weights.any()
    clusters = (n_clusters * rng.random(n_rows) ** 3).astype(np.int32)
    parents = [rng.integers(0, 6, n_clusters), rng.integers(0, 3, 6)][: int(rng.integers(0, 3))]
    priorities = np.round(rng.random(n_rows).astype(np.float32), 1 if ties else 6)
    budget = max(int(weights[weights > 0].min()), int(share * weights.sum()))
    spendable = spendable_weights(weights, budget)
    rows, plan = draw_budget(clusters, priorities, weights, budget, n_clusters, parents, seed=seed)
    plain = plainly_drawn(
        clusters.tolist(),
        priorities.tolist(),
        plan.quotas[0].tolist(),
        spendable.tolist(),
        [parent.tolist() for parent in parents],
    )
    assert rows.tolist() == plain


@given(st.integers(0, 10_000))
def test_no_cluster_is_more_than_a_row_away_from_its_quota(seed: int) -> None:
    rng = np.random.default_rng(seed)
    clusters, weights = rng.integers(0, 20, 600), rng.integers(5, 60, 600)
    priorities = keyed_priorities(np.arange(600), seed, Purpose.DRAW)
    rows, plan = draw_budget(clusters, priorities, weights, 4000, 20, [], seed=seed)
    taken = group_sums(clusters[rows], 20, weights[rows])
    # The few units that no next row could use may still move a light row elsewhere.
    assert (np.abs(taken - plan.quotas[0]) < 2 * weights.max()).all()


def test_equal_weights_draw_what_a_budget_of_rows_draws() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(400, 4)).astype(np.float32)
    tree = fit_hierarchy(x, [LevelSpec(n_clusters=20), LevelSpec(n_clusters=4)], metric="l2", seed=0)
    ones = np.ones(400, dtype=np.int32)
    for strategy in ("random", "closest"):
        by_rows = sample_balanced(tree, 90, strategy=strategy, seed=3)  # type: ignore[arg-type]
        by_weight = sample_balanced(tree, 90, weights=ones, strategy=strategy, seed=3)  # type: ignore[arg-type]
        np.testing.assert_array_equal(by_rows, by_weight)
    tokens = rng.integers(1, 100, 400)
    total = int(tokens[sample_balanced(tree, 5000, weights=tokens, seed=3)].sum())
    assert 5000 - tokens.min() < total <= 5000
    with pytest.raises(ValueError, match="weights has 399 entries, but the tree holds 400 rows"):
        sample_balanced(tree, 90, weights=ones[1:])


def test_what_cannot_be_drawn_is_refused() -> None:
    clusters, weights = np.zeros(3, dtype=np.int64), np.array([7, 9, 0])
    for budget in (0, 6, 17):
        with pytest.raises(ValueError, match=rf"budget is {budget}, .* value from 7 to 16"):
            draw_budget(clusters, np.arange(3), weights, budget, 1, [], seed=0)
    with pytest.raises(ValueError, match="must not be negative, got -1"):
        spendable_weights(np.array([3, -1]), 5)
    with pytest.raises(ValueError, match="must be integers, got float64"):
        spendable_weights(np.array([0.5]), 5)
