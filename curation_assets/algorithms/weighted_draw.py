"""Draws whose budget is counted in weights (tokens): never above it, and within one sample of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from curation_assets.algorithms.water_filling import water_fill


def spendable_weights(weights: np.ndarray, budget: int) -> np.ndarray:
    """Weights with which a budget is planned and drawn: samples that alone exceed it count nothing.

    Args:
        weights: integers (n,), >= 0.
        budget: of the whole draw.

    Returns:
        int64 (n,). A weight of 0 means that the sample is never drawn.

    Raises:
        ValueError: if a weight is negative or not an integer.
    """
    weights = np.asarray(weights)
    if not np.issubdtype(weights.dtype, np.integer):
        raise ValueError(f"weights must be integers, got {weights.dtype}: count them in whole units")
    if len(weights) and int(weights.min()) < 0:
        raise ValueError(f"weights must not be negative, got {int(weights.min())}")
    return np.where(weights > budget, 0, weights).astype(np.int64, copy=False)


def weight_sums(clusters: np.ndarray, weights: np.ndarray, n_clusters: int) -> np.ndarray:
    """Sum of the weights in each cluster, int64 (n_clusters,); exact, where floats stop at 2**53."""
    sums = np.zeros(n_clusters, dtype=np.int64)
    np.add.at(sums, clusters, weights)
    return sums


def draw_weighted(
    clusters: np.ndarray,
    priorities: np.ndarray,
    quotas: np.ndarray,
    weights: np.ndarray,
    parents: Sequence[np.ndarray] = (),
) -> np.ndarray:
    """Take rows of each cluster, smallest priority first, until its quota of weight is used up.

    1. Each cluster takes the longest run of its rows that its quota holds.
    2. What clusters of one parent have left over together goes to their next rows, one each at most: first where
       most of the quota is left for the weight of the row (ties by priority), until one no longer fits. Then the
       same among all clusters of one grandparent, and so on up to the top.
    3. The rest goes to next rows wherever they lie, in the same order. Rows heavier than what is left are passed
       over for good and it begins again with the rows behind them, until no row fits.

    Clusters without a quota take no part, and rows of weight 0 are never taken: they would be free, and without
    number. The total never exceeds B, the sum of the quotas: every step takes no more than is left of the quotas
    it gives from. And it comes within one row of B: the last step ends when no row not yet taken, of a cluster
    with a quota, weighs at most what is left, so B - total is less than the lightest of them. If there is no
    such row, the clusters gave all they have, which is at least B.

    Args:
        clusters: int64 (n,): level-1 cluster of each row.
        priorities: (n,) sortable; equal ones go by row number.
        quotas: int64 (k,): weight to take of each cluster, at most the sum of its rows.
        weights: int64 (n,), >= 0.
        parents: per level but the top, int64 (k_t,): cluster of the level above.

    Returns:
        int64 (m,): row numbers, ascending. Peak memory: about 60 bytes a row of clusters that give some but not
        all; whole-array operations, no loop over clusters.
    """
    sizes = weight_sums(clusters, weights, len(quotas))
    gives_some = (quotas > 0) & (quotas < sizes)
    chosen = (quotas >= sizes)[clusters] & (weights > 0)
    left_over = np.where(gives_some, quotas, 0)
    rows = np.flatnonzero(gives_some[clusters] & (weights > 0))
    rows = rows[np.lexsort((priorities[rows], clusters[rows]))]

    def take(positions: np.ndarray) -> np.ndarray:
        """Take rows by their position, and return the others."""
        taken = rows[positions]
        chosen[taken] = True
        np.subtract.at(left_over, clusters[taken], weights[taken])
        return np.delete(rows, positions)

    rows = take(_runs(clusters[rows], weights[rows], left_over))
    groups = np.arange(len(quotas))
    for parent in parents:
        groups = parent[groups]
        rows = take(_offers(clusters[rows], priorities[rows], weights[rows], left_over, groups))
    whole = np.zeros(len(quotas), dtype=np.int64)
    while len(rows := rows[weights[rows] <= (remaining := int(left_over.sum()))]):
        here, weight = clusters[rows], weights[rows]
        positions = _runs(here, weight, _shares(here, left_over, remaining))
        rows = take(
            positions if len(positions) else _offers(here, priorities[rows], weight, left_over, whole)
        )
    return np.flatnonzero(chosen)


def _starts(groups: np.ndarray) -> np.ndarray:
    """Where each run of equal values begins."""
    if not len(groups):
        return np.zeros(0, dtype=np.int64)
    return np.flatnonzero(np.concatenate([[True], groups[1:] != groups[:-1]]))


def _within(groups: np.ndarray, weights: np.ndarray, room: np.ndarray) -> np.ndarray:
    """Positions of the longest run of each group that its room holds; rows are ordered by group."""
    starts = _starts(groups)
    up_to = np.cumsum(weights)
    up_to -= np.repeat(up_to[starts] - weights[starts], np.diff(starts, append=len(groups)))
    return np.flatnonzero(up_to <= room[groups])


def _runs(clusters: np.ndarray, weights: np.ndarray, shares: np.ndarray | None) -> np.ndarray:
    """Positions of the rows that each cluster takes within its share; none without shares."""
    return np.zeros(0, dtype=np.int64) if shares is None else _within(clusters, weights, shares)


def _offers(
    clusters: np.ndarray,
    priorities: np.ndarray,
    weights: np.ndarray,
    left_over: np.ndarray,
    groups: np.ndarray,
) -> np.ndarray:
    """Positions of the next rows of clusters that what is left over in their group of clusters holds."""
    first = _starts(clusters)
    room = np.zeros(int(groups.max()) + 1, dtype=np.int64)
    np.add.at(room, groups, left_over)
    wanted = left_over[clusters[first]] / weights[first]
    group = groups[clusters[first]]
    order = np.lexsort((priorities[first], -wanted, group))
    return first[order[_within(group[order], weights[first[order]], room)]]


def _shares(clusters: np.ndarray, left_over: np.ndarray, remaining: int) -> np.ndarray | None:
    """What each cluster may take by itself, in all at most `remaining`; None if that is not worth a look.

    Clusters that took more than their quota are paid for by the others, and what clusters without rows leave
    unused is shared evenly.
    """
    able = clusters[_starts(clusters)]
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
