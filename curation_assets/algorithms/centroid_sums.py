"""Sums of the rows of each cluster, put together from what the workers of a fit send, and the means they give.

Prepared rows are multiples of a grid step, so float64 sums of them are exact: the order in which workers' parts are
added up, and how the rows were shared out among them, cannot move a centroid by a single bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from curation_assets.algorithms.rows import Metric


@dataclass(frozen=True, slots=True)
class SumDelta:
    """What some rows add to the sums of some clusters, and take from them."""

    clusters: np.ndarray
    """int64 (c,), ascending."""
    sums: np.ndarray
    """float64 (c, d)."""
    counts: np.ndarray
    """float64 (c,): weights of the rows."""

    def sliced(self, n_clusters: int, n_slices: int) -> list[SumDelta]:
        """Cut into consecutive ranges of the clusters 0 to n_clusters - 1, which can be merged apart."""
        edges = np.linspace(0, n_clusters, n_slices + 1).astype(np.int64)
        bounds = np.searchsorted(self.clusters, edges)
        return [
            SumDelta(self.clusters[a:b], self.sums[a:b], self.counts[a:b])
            for a, b in pairwise(bounds.tolist())
        ]


def merge_deltas(deltas: Sequence[SumDelta]) -> SumDelta:
    """The sum of deltas that speak of the same range of clusters.

    Args:
        deltas: at least one.
    """
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
        squared_length: sum of the squared lengths of all rows, each as often as it weighs.
    """

    def __init__(self, centroids: np.ndarray, metric: Metric, squared_length: float) -> None:
        self.centroids = centroids
        self._metric = metric
        self._squared_length = squared_length
        self._sums = torch.zeros(centroids.shape, dtype=torch.float64)
        self._counts = torch.zeros(len(centroids), dtype=torch.float64)
        self._dirty = torch.ones(len(centroids), dtype=torch.bool)
        self._squared = torch.zeros(len(centroids), dtype=torch.float64)

    def add(self, delta: SumDelta) -> None:
        """Account for rows that changed cluster."""
        clusters = _tensor(delta.clusters)
        self._sums.index_add_(0, clusters, _tensor(delta.sums))
        self._counts.index_add_(0, clusters, _tensor(delta.counts))
        self._dirty[clusters] = True
        self._squared[clusters] = self._sums.index_select(0, clusters).square_().sum(dim=1)

    def update(self) -> np.ndarray:
        """Move the centroids of clusters that gained or lost a row; returns all of them, float32 (k, d)."""
        changed = torch.nonzero(self._dirty & (self._counts > 0)).flatten()
        means = self._sums.index_select(0, changed).div_(self._counts[changed, None])
        if self._metric == "cosine":
            lengths = torch.linalg.vector_norm(means, dim=1)
            # Rows that cancel out have no direction: their centroid stays where it was.
            changed, means = changed[lengths > 0], means[lengths > 0].div_(lengths[lengths > 0, None])
        centroids = self.centroids.copy()
        centroids[changed.numpy()] = means.float().numpy()
        self._dirty.zero_()
        self.centroids = centroids
        return centroids

    def inertia(self) -> float:
        """Inertia of the assignments around their own best centroids, from the exact sums."""
        if self._metric == "cosine":
            gain = 2 * self._squared.sqrt() - self._counts
        else:
            gain = self._squared / self._counts.clamp(min=1)
        return max(0.0, self._squared_length - float(gain.sum()))


def _tensor(array: np.ndarray) -> torch.Tensor:
    # What another process sent is read-only, which torch tensors cannot be.
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))
