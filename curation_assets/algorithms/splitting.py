"""Splits: every coarse cluster of a split level is divided into sub-clusters by a k-means of its own.

Coarse clusters are split bucket by bucket, a bucket being a range of them whose rows fit a byte budget. A fit
depends on the rows of its coarse cluster and on the cluster's number alone, so buckets change no result. On CUDA the
small fits of a bucket advance together.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from curation_assets.algorithms.kmeans.fit import KMeansFit
from curation_assets.algorithms.kmeans.grouped.fits import GroupedFits
from curation_assets.algorithms.kmeans.inputs import FitInputs
from curation_assets.algorithms.kmeans.tiles import TiledRows
from curation_assets.algorithms.rows import ArrayRows, Rows
from curation_assets.algorithms.threads import use_one_torch_thread
from curation_assets.algorithms.tree import CoarseClusters, Level

BUCKET_BYTES = 128 * 2**20
"""Default byte budget of a bucket: its rows as float32."""
# From this many multiplications a pass a fit makes good use of all threads; below, each has one (measured at
# 500 x 384, k = 50: 10.4 ms a fit with a fit on each of 2 threads, 16.1 ms with one fit after another).
_ALL_THREADS_WORK = 10**9

FitCluster = Callable[[Rows, int, int], KMeansFit]
"""Prepared rows of one coarse cluster in the pool's order, number of sub-clusters, number of the coarse cluster."""


@dataclass(frozen=True, slots=True)
class SplitBucket:
    """The sub-clusters of one bucket, numbered from 0; coarse cluster after coarse cluster."""

    centroids: np.ndarray
    """float32 (k, d); none is of an empty sub-cluster."""
    of_cluster: np.ndarray
    """int64 (k,), ascending: the coarse cluster of each."""
    assignments: np.ndarray
    """int64 (n,): sub-cluster of each of the bucket's rows."""
    distances: np.ndarray
    """float32 (n,): to its centroid, as the metric reports it."""


def bucket_bounds(counts: np.ndarray, row_bytes: int, bucket_bytes: int = BUCKET_BYTES) -> np.ndarray:
    """Cut the coarse clusters into ranges whose rows fit a budget.

    Args:
        counts: int (k_coarse,): rows of each coarse cluster.
        row_bytes: of one row as float32.
        bucket_bytes: budget; a coarse cluster that exceeds it is a bucket of its own.

    Returns:
        int64 (n_buckets + 1,), strictly ascending from 0 to k_coarse: bucket b holds the coarse clusters from
        bounds[b] up to bounds[b + 1].
    """
    most_rows = max(1, bucket_bytes // row_bytes)
    stops = np.cumsum(counts)
    bounds = [0]
    while bounds[-1] < len(counts):
        first = bounds[-1]
        before = stops[first] - counts[first]
        fitting = int(np.searchsorted(stops, before + most_rows, side="right"))
        bounds.append(max(fitting, first + 1))
    return np.array(bounds, dtype=np.int64)


def split_bucket(
    rows: Rows,
    clusters: np.ndarray,
    per_cluster: int,
    fit: FitCluster,
    *,
    together: GroupedFits | None = None,
    device: str = "cpu",
) -> SplitBucket:
    """Split the coarse clusters of one bucket.

    Args:
        rows: prepared rows (n, d); those of a coarse cluster stand in the pool's order.
        clusters: int (n,): their coarse clusters.
        per_cluster: sub-clusters of each; fewer where a coarse cluster has fewer rows.
        fit: k-means of one coarse cluster; called from several threads.
        together: the same of several at once, for those that it chooses; None leaves all to `fit`.
        device: torch device; on 'cpu' as many small fits run at once as torch has threads.

    Returns:
        The sub-clusters; empty ones are dropped. Memory beside the rows: on each thread the float32 rows of one
        coarse cluster and its fit, and on the device all rows. The only coarse cluster of a bucket is handed to `fit`
        without a copy.
    """
    order = np.argsort(clusters, kind="stable")
    present, starts = np.unique(clusters[order], return_index=True)
    members = np.split(order, starts[1:])

    def split(position: int) -> KMeansFit:
        mine = members[position]
        inside = rows if len(present) == 1 else ArrayRows(rows.take(mine))
        return fit(inside, min(per_cluster, len(mine)), int(present[position]))

    sizes = np.bincount(np.searchsorted(present, clusters), minlength=len(present))
    n_inside = np.minimum(sizes, per_cluster)
    found: dict[int, KMeansFit] = {}
    if together is not None and len(present) > 1:
        grouped = np.flatnonzero(together.which(sizes, n_inside, rows.dimension))
        if len(grouped):
            tiled = TiledRows(rows, together.device)
            chosen = [members[position] for position in grouped]
            fits = together.fit(tiled, chosen, n_inside[grouped], present[grouped])
            found = dict(zip(grouped.tolist(), fits, strict=True))
    # Rows times sub-clusters of each fit; times the dimension, the multiplications of a pass.
    _run_others(split, found, sizes * per_cluster * rows.dimension, device)
    assignments = np.empty(len(order), dtype=np.int64)
    distances = np.empty(len(order), dtype=np.float32)
    # An empty bucket has arrays of no rows.
    centroids, of_cluster = [np.empty((0, rows.dimension), np.float32)], [np.empty(0, np.int64)]
    n_clusters = 0
    for position, (cluster, mine) in enumerate(zip(present, members, strict=False)):
        inside = found[position]
        filled = np.flatnonzero(inside.sizes)
        number = np.full(len(inside.centroids), -1)
        number[filled] = n_clusters + np.arange(len(filled))
        assignments[mine], distances[mine] = number[inside.assignments], inside.distances
        centroids.append(inside.centroids[filled])
        of_cluster.append(np.full(len(filled), cluster, dtype=np.int64))
        n_clusters += len(filled)
    return SplitBucket(np.concatenate(centroids), np.concatenate(of_cluster), assignments, distances)


def split_level(
    inputs: FitInputs,
    coarse: KMeansFit,
    per_cluster: int,
    fit: FitCluster,
    *,
    together: GroupedFits | None = None,
    bucket_bytes: int = BUCKET_BYTES,
    device: str = "cpu",
) -> Level:
    """Split all coarse clusters of rows that can be taken in any order, `bucket_bytes` of float32 at a time.

    `inputs` has all its rows selected; `per_cluster`, `fit`, `together` and `device` are those of `split_bucket`.

    Returns:
        The level: sub-clusters numbered bucket after bucket. Memory: 28 bytes a row, the centroids, and about
        two buckets.
    """
    counts = coarse.sizes
    order = np.argsort(coarse.assignments, kind="stable")
    stops = np.concatenate([[0], np.cumsum(counts)])
    assignments = np.empty(len(order), dtype=np.int64)
    distances = np.empty(len(order), dtype=np.float32)
    centroids, of_cluster, n_clusters = [], [], 0
    bounds = bucket_bounds(counts, 4 * inputs.dimension, bucket_bytes)
    for first, last in pairwise(bounds.tolist()):
        members = order[stops[first] : stops[last]]
        rows = ArrayRows(inputs.take(members))
        bucket = split_bucket(
            rows, coarse.assignments[members], per_cluster, fit, together=together, device=device
        )
        assignments[members] = n_clusters + bucket.assignments
        distances[members] = bucket.distances
        centroids.append(bucket.centroids)
        of_cluster.append(bucket.of_cluster)
        n_clusters += len(bucket.centroids)
    split_from = CoarseClusters(coarse.centroids, np.concatenate(of_cluster))
    return Level(np.concatenate(centroids), assignments, distances, (coarse.inertias,), coarse=split_from)


def _run_others(
    split: Callable[[int], KMeansFit], found: dict[int, KMeansFit], costs: np.ndarray, device: str
) -> None:
    """Make the fits that are not in `found`: large ones one after another, small ones side by side.

    Large ones have all threads, small ones one each.
    """
    n_threads = torch.get_num_threads() if device == "cpu" else 1
    missing = np.setdiff1d(np.arange(len(costs)), list(found))
    small = missing[costs[missing] < _ALL_THREADS_WORK].tolist() if n_threads > 1 else []
    found.update({position: split(position) for position in np.setdiff1d(missing, small).tolist()})
    if small:
        try:
            with ThreadPoolExecutor(n_threads, initializer=use_one_torch_thread) as pool:
                found.update(zip(small, pool.map(split, small), strict=True))
        finally:
            # The threads' setting is their own for torch's loops, but global for its BLAS.
            torch.set_num_threads(n_threads)
