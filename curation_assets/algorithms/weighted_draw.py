"""Draws whose budget is counted in weights (tokens): never above it, and within one sample of it."""

from __future__ import annotations

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
    clusters: np.ndarray, priorities: np.ndarray, quotas: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Take rows of each cluster, smallest priority first, until its quota of weight is used up.

    Each cluster takes the longest run of its rows that its quota holds. What is then left over of all quotas
    together goes to the clusters' next rows, those first whose cluster has most left of its quota for the
    weight of the row (ties by priority), until one no longer fits into what is left. Rows heavier than what is
    left are passed over for good and the same begins again with the rows behind them; what rows passed over
    leave unused is shared evenly. Clusters without a quota take no part, and rows of weight 0 are never taken:
    they would be free, and without number.

    The total never exceeds B, the sum of the quotas: every step takes no more than is left. And it comes within
    one row of B: the steps end when no row not yet taken, of a cluster with a quota, weighs at most what is
    left, so B - total is less than the lightest of them. If there is none, the clusters gave all they have.

    Args:
        clusters: int64 (n,): level-1 cluster of each row.
        priorities: (n,) sortable; equal ones go by row number.
        quotas: int64 (k,): weight to take of each cluster, at most the sum of its rows.
        weights: int64 (n,), >= 0.

    Returns:
        int64 (m,): row numbers, ascending. Peak memory: about 60 bytes a row of clusters that give some but not
        all; whole-array operations, no loop over clusters.
    """
    sizes = weight_sums(clusters, weights, len(quotas))
    gives_some = (quotas > 0) & (quotas < sizes)
    chosen = (quotas >= sizes)[clusters] & (weights > 0)
    remaining = int(quotas.sum()) - int(sizes[quotas >= sizes].sum())
    rows = np.flatnonzero(gives_some[clusters] & (weights > 0))
    rows = rows[np.lexsort((priorities[rows], clusters[rows]))]
    left_over = np.where(gives_some, quotas, 0)
    while len(rows := rows[weights[rows] <= remaining]):
        positions = _next_rows(clusters[rows], priorities[rows], weights[rows], left_over, remaining)
        taken = rows[positions]
        chosen[taken] = True
        remaining -= int(weights[taken].sum())
        np.subtract.at(left_over, clusters[taken], weights[taken])
        rows = np.delete(rows, positions)
    return np.flatnonzero(chosen)


def _next_rows(
    clusters: np.ndarray, priorities: np.ndarray, weights: np.ndarray, left_over: np.ndarray, remaining: int
) -> np.ndarray:
    """Positions of the rows to take next: at least one, together at most `remaining`.

    The rows are ordered by cluster, then priority, and each weighs from 1 to `remaining`.
    """
    first = np.flatnonzero(np.concatenate([[True], clusters[1:] != clusters[:-1]]))
    shares = _shares(left_over[clusters[first]], remaining)
    if shares is not None:
        n_rows = np.diff(first, append=len(clusters))
        up_to = np.cumsum(weights)
        up_to -= np.repeat(up_to[first] - weights[first], n_rows)
        fits = np.flatnonzero(up_to <= np.repeat(shares, n_rows))
        if len(fits):
            return fits
    wanted = left_over[clusters[first]] / weights[first]
    offers = first[np.lexsort((priorities[first], -wanted))]
    return offers[: np.searchsorted(np.cumsum(weights[offers]), remaining, side="right")]


def _shares(left_over: np.ndarray, remaining: int) -> np.ndarray | None:
    """What each cluster may take by itself, in all at most `remaining`; None if that is not worth a look."""
    own = np.maximum(left_over, 0)
    unclaimed = remaining - int(own.sum())
    if unclaimed >= 0:
        return own + unclaimed // len(own)
    # Clusters that took more than their quota are paid for by the others. Less than one unit for each of them
    # would let none of them take a row.
    if remaining < len(own):
        return None
    one_parent = np.zeros(len(own), dtype=np.int64)
    return water_fill(own, one_parent, np.array([remaining]), np.arange(len(own)))
