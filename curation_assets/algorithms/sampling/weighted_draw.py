"""Draws whose budget is counted in weights (tokens): never above it, and within one sample of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from curation_assets.algorithms.sampling.ordering import (
    group_sums,
    order_in_groups,
    run_starts,
    sorted_blocks,
)
from curation_assets.algorithms.sampling.water_filling import water_fill

_LIGHTEST_TO_WAIT = 10
"""A row heavier than this part (1 / 10) of the budget waits for what the others leave over."""


def spendable_weights(weights: np.ndarray, budget: int) -> np.ndarray:
    """Weights with which a budget is planned and drawn: a sample that alone exceeds it gets a weight of 0.

    Args:
        weights: integers (n,), >= 0.
        budget: of the whole draw.

    Returns:
        Integers (n,) of the same type. A weight of 0 means that the sample is never drawn.

    Raises:
        ValueError: if a weight is negative or not an integer.
    """
    weights = np.asarray(weights)
    if not np.issubdtype(weights.dtype, np.integer):
        raise ValueError(f"weights must be integers, got {weights.dtype}: count them in whole units")
    if len(weights) and int(weights.min()) < 0:
        raise ValueError(f"weights must not be negative, got {int(weights.min())}")
    too_heavy = weights > budget
    return np.where(too_heavy, weights.dtype.type(0), weights) if too_heavy.any() else weights


def draw_weighted(
    clusters: np.ndarray,
    priorities: np.ndarray,
    quotas: np.ndarray,
    weights: np.ndarray,
    parents: Sequence[np.ndarray] = (),
) -> np.ndarray:
    """Take rows of each cluster, smallest priority first, until its quota of weight is used up.

    1. The rows of a cluster form a queue. Each begins where those before it end, as a share of the cluster's quota.
       The queues of one parent's clusters merge into one, in the order of these shares (ties by priority), and the
       shares are counted again, of the parent's quota. At the top there is one queue; the longest run that the
       budget holds is taken. So clusters fill at the same pace, and whether a row is taken depends on the rows
       before it, not on its own weight. Taking whatever fits prefers light rows: on clusters with a quota of a fifth
       of a row, it took rows a third as heavy as the pool's.
    2. The rest goes to the next rows of any cluster, first where most of the quota is left for the weight of the row.
       Rows heavier than what is left are dropped, and the search goes on with the rows behind them until no row
       fits. Rows heavier than a tenth of the budget take part in this step only: one of them would take too much
       from all other clusters.

    Clusters without a quota take no part, and rows of weight 0 are never taken. The total never exceeds B, the sum of
    the quotas, since every step takes at most what is left of the quotas. And it comes within one row of B: the last
    step ends when every remaining row of a cluster with a quota weighs more than what is left, so B - total is less
    than the lightest of them. If no such row remains, the clusters gave all they have, which is at least B.

    Args:
        clusters: integers (n,): level-1 cluster of each row.
        priorities: (n,) sortable; equal ones go by row number.
        quotas: int64 (k,): weight to take of each cluster, at most the sum of its rows.
        weights: integers (n,), >= 0.
        parents: per level but the top, int64 (k_t,): cluster of the level above.

    Returns:
        int64 (m,): row numbers, ascending. Peak memory: about 25 bytes a row of clusters that give some but not
        all, and 70 a row at the head of a queue; whole-array operations, no loop over clusters.
    """
    sizes = group_sums(clusters, len(quotas), weights)
    gives_some = (quotas > 0) & (quotas < sizes)
    chosen = (quotas >= sizes)[clusters] & (weights > 0)
    left_over = np.where(gives_some, quotas, 0)
    waiting, heads = _queues(clusters, priorities, weights, left_over, int(quotas.sum()) // _LIGHTEST_TO_WAIT)
    first = _merged(heads, clusters[heads], priorities, weights, left_over, parents)
    chosen[first] = True
    left_over -= group_sums(clusters[first], len(quotas), weights[first])
    waiting.remove(chosen[waiting.rows])
    while waiting.keep_lighter(remaining := int(left_over.sum())):
        here, weight = waiting.clusters, waiting.weights
        positions = _runs(here, weight, _shares(here, left_over, remaining))
        if not len(positions):
            positions = _offers(here, waiting.rows, priorities, weight, left_over, remaining)
        chosen[waiting.rows[positions]] = True
        left_over -= group_sums(here[positions], len(quotas), weight[positions])
        waiting.remove(positions)
    return np.flatnonzero(chosen)


class _Waiting:
    """Rows that were not taken, by cluster, then priority, with their clusters and weights.

    Args:
        rows: row numbers (m,).
        clusters: of the rows (m,).
        weights: of the rows (m,), above 0.
    """

    def __init__(self, rows: np.ndarray, clusters: np.ndarray, weights: np.ndarray) -> None:
        self.rows, self.clusters, self.weights = rows, clusters, weights
        self._stay = np.ones(len(rows), dtype=bool)

    def remove(self, positions: np.ndarray) -> None:
        """Take rows out at the next `keep_lighter`; positions may be a mask."""
        self._stay[positions] = False

    def keep_lighter(self, remaining: int) -> bool:
        """Drop all rows that weigh more than what remains; returns whether any are left."""
        self._stay &= self.weights <= remaining
        self.rows, self.clusters = self.rows[self._stay], self.clusters[self._stay]
        self.weights = self.weights[self._stay]
        self._stay = np.ones(len(self.rows), dtype=bool)
        return len(self.rows) > 0


def _begins(groups: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weight of the rows before each row of its group, int64; rows are ordered by group."""
    starts = run_starts(groups)
    ends = np.cumsum(weights, dtype=np.int64)
    before = ends - weights.astype(np.int64, copy=False)
    before -= np.repeat(before[starts], np.diff(starts, append=len(groups)))
    return before


def _queues(
    clusters: np.ndarray, priorities: np.ndarray, weights: np.ndarray, room: np.ndarray, heaviest: int
) -> tuple[_Waiting, np.ndarray]:
    """All rows with a weight of the clusters with room, and the rows at the head of their cluster's queue.

    A row is at the head if it weighs at most `heaviest` and begins within the room of its cluster; the rows before
    any later one use the room up.
    """
    parts = [(np.zeros(0, dtype=np.uint32), clusters[:0], weights[:0])]
    heads = [np.zeros(0, dtype=np.uint32)]
    n_rows = np.where(room > 0, group_sums(clusters, len(room)), 0)
    for rows in sorted_blocks(clusters, [priorities], n_rows):
        group, weight = clusters[rows], weights[rows]
        if not weight.all():
            counts = weight > 0
            rows, group, weight = rows[counts], group[counts], weight[counts]
        parts.append((rows, group, weight))
        light = weight <= heaviest
        if not light.all():
            rows, group, weight = rows[light], group[light], weight[light]
        heads.append(rows[_begins(group, weight) < room[group]])
    rows, group, weight = (np.concatenate(column) for column in zip(*parts, strict=True))
    return _Waiting(rows, group, weight), np.concatenate(heads)


def _merged(
    rows: np.ndarray,
    group: np.ndarray,
    priorities: np.ndarray,
    weights: np.ndarray,
    room: np.ndarray,
    parents: Sequence[np.ndarray],
) -> np.ndarray:
    """The head of the one queue that the clusters' queues merge into, as many rows as the room holds.

    IN: rows ordered by `group`, their cluster, then priority. Rows that begin behind the room of their cluster, or of
    one above it, are left out: the rows before them use it up.
    """
    # The last clusters of a level may have no child: the level above them says how many there are.
    n_top = int(parents[-1].max()) + 1 if parents else len(room)
    lengths = [*(len(parent) for parent in parents[1:]), *([n_top] if parents else []), 1]
    # Above the top there is one queue of everything.
    for parent, n_above in zip([*parents, np.zeros(n_top, dtype=np.int64)], lengths, strict=True):
        begin = _begins(group, weights[rows])
        inside = begin < room[group]
        rows, group, begin = rows[inside], group[inside], begin[inside]
        # A row's place in its parent's queue: the share of its cluster's room that is used before it.
        order = order_in_groups(parent[group], begin / room[group], priorities[rows])
        rows, group = rows[order], parent[group[order]]
        room = group_sums(parent, n_above, room)
    return rows[: np.searchsorted(np.cumsum(weights[rows], dtype=np.int64), int(room.sum()), side="right")]


def _runs(clusters: np.ndarray, weights: np.ndarray, shares: np.ndarray | None) -> np.ndarray:
    """Positions of the rows that each cluster takes within its share; none without shares."""
    if shares is None:
        return np.zeros(0, dtype=np.int64)
    return np.flatnonzero(_begins(clusters, weights) + weights.astype(np.int64) <= shares[clusters])


def _offers(
    clusters: np.ndarray,
    rows: np.ndarray,
    priorities: np.ndarray,
    weights: np.ndarray,
    left_over: np.ndarray,
    remaining: int,
) -> np.ndarray:
    """Positions of the clusters' next rows, those first whose cluster has most of its quota left for their weight."""
    first = run_starts(clusters)
    wanted = left_over[clusters[first]] / weights[first]
    most = remaining // int(weights[first].min()) + 1
    if most < len(first):
        # At most `most` rows fit, even if all are as light as the lightest: only the most wanted are sorted, those from
        # the `most`-th highest value of `wanted` up.
        among = wanted >= np.partition(wanted, len(first) - most)[len(first) - most]
        first, wanted = first[among], wanted[among]
    one_group = np.zeros(len(first), dtype=np.uint8)
    offers = first[order_in_groups(one_group, -wanted, priorities[rows[first]])]
    return offers[: np.searchsorted(np.cumsum(weights[offers], dtype=np.int64), remaining, side="right")]


def _shares(clusters: np.ndarray, left_over: np.ndarray, remaining: int) -> np.ndarray | None:
    """What each cluster may take by itself, in all at most `remaining`; None if that would hardly take a row.

    Clusters that took more than their quota reduce the others' shares, and what clusters without rows leave unused
    is shared evenly.
    """
    able = clusters[run_starts(clusters)]
    # Less than one unit for each of them would let hardly any take a row.
    if remaining < len(able):
        return None
    own = np.maximum(left_over[able], 0)
    claimed = min(int(own.sum()), remaining)
    one_parent = np.zeros(len(able), dtype=np.int64)
    own = water_fill(own, one_parent, np.array([claimed]), np.arange(len(able)))
    shares = np.zeros_like(left_over)
    shares[able] = own + (remaining - claimed) // len(able)
    return shares
