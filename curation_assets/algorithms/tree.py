"""ClusterTree: the fitted hierarchy, and how new rows find their cluster at every level."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from curation_assets.algorithms.preprocessing import Preprocessing
from curation_assets.algorithms.resampling import ResampledSubset
from curation_assets.algorithms.rows import ArrayRows, Rows, chunk_bounds
from curation_assets.algorithms.search.assigner import assign
from curation_assets.algorithms.search.groups import assign_inside
from curation_assets.algorithms.settings import Metric


@dataclass(frozen=True, slots=True)
class CoarseClusters:
    """The coarse clusters of a split level; rows find their cluster through them."""

    centroids: np.ndarray
    """float32 (k_coarse, d)."""
    of_cluster: np.ndarray
    """int64 (k,), ascending: the coarse cluster that each cluster was split from."""


@dataclass(frozen=True, slots=True)
class Level:
    """One fitted level; its inputs are the pool's rows (level 1) or the centroids of the level below."""

    centroids: np.ndarray
    """float32 (k, d)."""
    assignments: np.ndarray
    """int64 (n_inputs,): cluster of each input."""
    distances: np.ndarray
    """float32 (n_inputs,): 1 - cos for cosine, Euclidean for l2."""
    inertias: tuple[tuple[float, ...], ...]
    """By fit (the initial one, then each resampling step): the inertia after each Lloyd iteration."""
    resampled: ResampledSubset | None = None
    """The inputs on which the final centroids were fitted; None without resampling."""
    coarse: CoarseClusters | None = None
    """Set for a split level."""

    @property
    def n_clusters(self) -> int:
        """Clusters of the level."""
        return len(self.centroids)

    def assign(
        self, block: np.ndarray, *, metric: Metric, device: str = "cpu"
    ) -> tuple[np.ndarray, np.ndarray]:
        """Cluster and distance of prepared rows of shape (n, d); see `assign_to_level`."""
        return assign_to_level(block, self.centroids, self.coarse, metric=metric, device=device)


def assign_to_level(
    block: np.ndarray,
    centroids: np.ndarray,
    coarse: CoarseClusters | None,
    *,
    metric: Metric,
    device: str = "cpu",
) -> tuple[np.ndarray, np.ndarray]:
    """Nearest cluster of prepared rows, within the nearest coarse cluster where the level was split.

    Args:
        block: float32 (n, d).
        centroids: float32 (k, d).
        coarse: of a split level.
        metric: how distances are reported.
        device: torch device.

    Returns:
        clusters int64 (n,) and distances float32 (n,).
    """
    if coarse is None:
        return assign(block, centroids, metric=metric, device=device)
    bounds = np.searchsorted(coarse.of_cluster, np.arange(len(coarse.centroids) + 1))
    # A coarse cluster that lost all its rows was not split: nothing can be inside it.
    filled = np.flatnonzero(np.diff(bounds))
    found, _ = assign(block, coarse.centroids[filled], metric=metric, device=device)
    return assign_inside(block, filled[found], centroids, bounds, metric=metric, device=device)


@dataclass(frozen=True, slots=True)
class ClusterTree:
    """A hierarchy of clusterings over a pool."""

    levels: tuple[Level, ...]
    """levels[0] clusters the pool's rows, levels[t] the centroids of levels[t - 1]."""
    preprocessing: Preprocessing
    seed: int
    rows: Rows | None = field(default=None, repr=False, compare=False)
    """The raw embeddings that it was fitted on: a reference, no copy. None if they are not at hand."""

    @property
    def metric(self) -> Metric:
        """'cosine' or 'l2'."""
        return self.preprocessing.metric

    def assign(self, x: np.ndarray | Rows, *, device: str = "cpu") -> np.ndarray:
        """Clusters of new rows at every level: the nearest at level 1, its ancestors above.

        Args:
            x: raw embeddings, float array (n, d) or Rows; prepared here as the fitted rows were.
            device: torch device.

        Returns:
            int64 (n, n_levels).

        Raises:
            ValueError: if the dimension differs from the tree's or an embedding is not finite.
        """
        rows = ArrayRows(np.asarray(x)) if isinstance(x, np.ndarray) else x
        dimension = self.levels[0].centroids.shape[1]
        if rows.dimension != dimension:
            raise ValueError(f"x has {rows.dimension} dimensions, the tree was fitted on {dimension}")
        clusters = np.empty((rows.n_rows, len(self.levels)), dtype=np.int64)
        for start, stop in chunk_bounds(rows):
            block = rows.read(start, stop)
            if not np.isfinite(block).all():
                raise ValueError(f"rows {start} to {stop} of x hold values that are not finite: drop them")
            clusters[start:stop, 0], _ = self.levels[0].assign(
                self.preprocessing.apply(block), metric=self.metric, device=device
            )
        self._climb(clusters)
        return clusters

    def row_clusters(self) -> np.ndarray:
        """Clusters of the fitted rows at every level, int64 (n, n_levels)."""
        clusters = np.empty((len(self.levels[0].assignments), len(self.levels)), dtype=np.int64)
        clusters[:, 0] = self.levels[0].assignments
        self._climb(clusters)
        return clusters

    def _climb(self, clusters: np.ndarray) -> None:
        for t in range(1, len(self.levels)):
            clusters[:, t] = self.levels[t].assignments[clusters[:, t - 1]]

    def parents(self) -> list[np.ndarray]:
        """For each level but the top: the cluster of the level above, int64 (k,)."""
        return [level.assignments for level in self.levels[1:]]
