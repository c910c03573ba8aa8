"""Sums of the rows of each cluster, merged from what the workers of a fit send, and the centroids they give.

Prepared rows are multiples of a grid step, so float64 sums of them are exact: the order in which workers' parts are
added up, and how the rows were shared out among them, cannot move a centroid by a single bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from curation_assets.algorithms.compiled import add_sums, divide_sums
from curation_assets.algorithms.settings import Metric
from curation_assets.algorithms.threads import VALUE_WORK, in_parts


@dataclass(frozen=True, slots=True)
class SumDelta:
    """Changes of the sums of some clusters."""

    clusters: np.ndarray
    """int64 (c,), ascending."""
    sums: np.ndarray
    """float64 (c, d)."""
    counts: np.ndarray
    """float64 (c,): weights of the rows."""

    def sliced(self, n_clusters: int, n_slices: int) -> list[SumDelta]:
        """Cut into consecutive ranges of the clusters 0 to n_clusters - 1, which can be merged independently."""
        edges = np.linspace(0, n_clusters, n_slices + 1).astype(np.int64)
        bounds = np.searchsorted(self.clusters, edges)
        return [
            SumDelta(self.clusters[a:b], self.sums[a:b], self.counts[a:b])
            for a, b in pairwise(bounds.tolist())
        ]


def gains(squared: np.ndarray, counts: np.ndarray, metric: Metric) -> np.ndarray:
    """By how much each cluster's own best centroid lowers the inertia below the sum of all squared lengths.

    Args:
        squared: float64 (k,): squared lengths of the sums of the clusters' rows.
        counts: float64 (k,): weights of the rows.
        metric: of the fit.

    Returns:
        float64 (k,).
    """
    # With s the sum of a cluster's rows and w their weight, sum |x - c|^2 = sum |x|^2 - gain, where gain is 2 |s| - w
    # for the unit centroid s / |s|, and |s|^2 / w for the mean s / w.
    if metric == "cosine":
        return 2 * np.sqrt(squared) - counts
    return squared / np.maximum(counts, 1)


def merge_deltas(deltas: Sequence[SumDelta]) -> SumDelta:
    """The sum of deltas, at least one, of the same range of clusters."""
    if len(deltas) == 1:
        return deltas[0]
    clusters = np.unique(np.concatenate([delta.clusters for delta in deltas]))
    sums = np.zeros((len(clusters), deltas[0].sums.shape[1]))
    counts = np.zeros(len(clusters))
    for delta in deltas:
        place = np.searchsorted(clusters, delta.clusters)
        sums[place] += delta.sums
        counts[place] += delta.counts
    return SumDelta(clusters, sums, counts)


class CentroidSums:
    """Centroids of a fit, and the exact sums they are the means of.

    Args:
        centroids: float32 (k, d) to start from.
        metric: 'cosine' keeps centroids at unit length.
        squared_length: sum of the squared lengths of all rows, each times its weight.
    """

    def __init__(self, centroids: np.ndarray, metric: Metric, squared_length: float) -> None:
        self.centroids = centroids
        self._metric = metric
        self._squared_length = squared_length
        self._sums = np.zeros_like(centroids, dtype=np.float64)
        self._counts = np.zeros(len(centroids))
        self._dirty = np.ones(len(centroids), dtype=np.bool_)
        self._squared = np.zeros(len(centroids))

    def add(self, delta: SumDelta) -> None:
        """Account for rows that changed cluster."""
        clusters = delta.clusters
        self._counts[clusters] += delta.counts
        self._dirty[clusters] = True
        arrays = clusters, delta.sums, self._sums, self._squared
        self._in_parts(len(clusters), lambda start, stop: add_sums(start, stop, *arrays))

    def update(self) -> np.ndarray:
        """Move the centroids of clusters that gained or lost a row; returns all of them, float32 (k, d)."""
        # Rows that cancel out have no direction: their centroid does not move.
        divisors = np.sqrt(self._squared) if self._metric == "cosine" else self._counts
        changed = np.flatnonzero(self._dirty & (self._counts > 0) & (divisors > 0))
        centroids = self.centroids.copy()
        arrays = changed, self._sums, divisors, centroids
        self._in_parts(len(changed), lambda start, stop: divide_sums(start, stop, *arrays))
        self._dirty[:] = False
        self.centroids = centroids
        return centroids

    def inertia(self) -> float:
        """Inertia of the assignments around their own best centroids, from the exact sums."""
        gain = gains(self._squared, self._counts, self._metric)
        # cumsum adds one after the other; sum would add in an order that depends on the machine.
        return max(0.0, self._squared_length - float(np.cumsum(gain)[-1]))

    def _in_parts(self, n_clusters: int, function: Callable[[int, int], None]) -> None:
        in_parts(function, n_clusters, VALUE_WORK * self._sums.shape[1])
