"""Resampling (section 3.2 of the paper): the few rows of each cluster on which the next k-means is fitted."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np

from curation_assets.algorithms.settings import Strategy


@dataclass(frozen=True, slots=True)
class ResampledSubset:
    """Rows kept for a resampling step, ordered by cluster, then rank."""

    rows: np.ndarray
    """int64 (m,): input rows of the level; rows of a small cluster are repeated."""
    clusters: np.ndarray
    """int64 (m,): the cluster each was kept for."""
    ranks: np.ndarray
    """int64 (m,): 0 for the first row of a cluster."""


def resample(
    assignments: np.ndarray,
    distances: np.ndarray,
    *,
    n_clusters: int,
    samples_per_cluster: int,
    strategy: Strategy,
    rng: np.random.Generator,
) -> ResampledSubset:
    """Keep `samples_per_cluster` rows of every cluster.

    A cluster with fewer rows repeats them, so that every cluster weighs the same in the next k-means, however
    few rows it has: on the paper's 2-D study that lowers the KL from 0.047 to 0.037 (5 seeds). Where the kept
    rows would be fewer than the clusters (many are empty), large clusters keep more, unrepeated, until a
    k-means with n_clusters can be fitted on them.

    Args:
        assignments: int64 (n,), n >= n_clusters.
        distances: float32 (n,) to the assigned centroid.
        n_clusters: k of the level.
        samples_per_cluster: rows to keep of each cluster, >= 1.
        strategy: 'closest' to the centroid (ties by row number) or 'random'.
        rng: used by 'random'.

    Returns:
        The subset, at least samples_per_cluster rows of each cluster that is not empty. Peak memory: about 32
        bytes a row.

    Raises:
        ValueError: if the strategy is unknown, samples_per_cluster < 1, or there are fewer rows than clusters.
    """
    n_rows = len(assignments)
    if samples_per_cluster < 1:
        raise ValueError(f"samples_per_cluster is {samples_per_cluster}: keep at least 1 row of each cluster")
    if n_rows < n_clusters:
        raise ValueError(f"n_clusters is {n_clusters:,}, but the level has only {n_rows:,} input rows")
    if strategy == "closest":
        order = np.lexsort((distances, assignments))
    elif strategy == "random":
        order = np.lexsort((rng.permutation(n_rows), assignments))
    else:
        raise ValueError(f"strategy must be 'closest' or 'random', got {strategy!r}")
    sizes = np.bincount(assignments, minlength=n_clusters)
    # The smallest number m >= samples_per_cluster for which sum(min(size, m)) reaches n_clusters.
    n_kept = bisect_left(
        range(int(sizes.max()) + 1),
        n_clusters,
        lo=samples_per_cluster,
        key=lambda kept: int(np.minimum(sizes, kept).sum()),
    )
    filled = np.flatnonzero(sizes)
    starts = (np.cumsum(sizes) - sizes)[filled]
    # Repeats stop at samples_per_cluster. Where most rows are copies of one, n_kept is as large as k: k repeats of each
    # of k small clusters would not fit in memory.
    kept = np.maximum(samples_per_cluster, np.minimum(sizes[filled], n_kept))
    ranks = rank_in_group(kept)
    # Rank r of a cluster of s rows takes its row r mod s: small clusters repeat theirs in order.
    positions = np.repeat(starts, kept) + ranks % np.repeat(sizes[filled], kept)
    return ResampledSubset(order[positions], np.repeat(filled, kept), ranks)


def rank_in_group(sizes: np.ndarray) -> np.ndarray:
    """0, 1, 2, ... within each of consecutive groups of the given sizes, int64 (sum of sizes,)."""
    starts = np.cumsum(sizes) - sizes
    return np.arange(int(sizes.sum()), dtype=np.int64) - np.repeat(starts, sizes)
