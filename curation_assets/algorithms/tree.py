"""ClusterTree: the fitted hierarchy, and how new rows find their cluster at every level."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from curation_assets.algorithms.preprocessing import Preprocessing
from curation_assets.algorithms.resampling import ResampledSubset
from curation_assets.algorithms.rows import ArrayRows, Rows, chunk_bounds
from curation_assets.algorithms.search.assigner import Assigner
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

    def assigner(self, *, metric: Metric, device: str = "cpu") -> LevelAssigner:
        """Assigns other rows to the clusters of the level."""
        return LevelAssigner(self.centroids, self.coarse, metric=metric, device=device)


class LevelAssigner:
    """Assigns blocks of rows to the clusters of a level; centroids are prepared once.

    Args:
        centroids: float32 (k, d); those of a split level may be memory-mapped.
        coarse: of a split level: a row's cluster is the nearest one within its nearest coarse cluster.
        metric: how distances are reported.
        device: torch device.
    """

    def __init__(
        self, centroids: np.ndarray, coarse: CoarseClusters | None, *, metric: Metric, device: str = "cpu"
    ) -> None:
        self._centroids, self._metric, self._device = centroids, metric, device
        self._is_split = coarse is not None
        if coarse is not None:
            self._bounds = np.searchsorted(coarse.of_cluster, np.arange(len(coarse.centroids) + 1))
            # A coarse cluster that lost all its rows was not split: nothing can be inside it.
            self._filled = np.flatnonzero(np.diff(self._bounds))
            centroids = coarse.centroids[self._filled]
        self._assigner = Assigner(centroids, metric=metric, device=device)

    @property
    def whole(self) -> Assigner | None:
        """The assigner to all centroids; None if the level is split."""
        return None if self._is_split else self._assigner

    def assign(self, block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Cluster int64 (n,) and distance float32 (n,) of prepared rows, float32 (n, d)."""
        found, distances = self._assigner.assign(block)
        if not self._is_split:
            return found, distances
        of_row = self._filled[found]
        return assign_inside(
            block, of_row, self._centroids, self._bounds, metric=self._metric, device=self._device
        )

    def distances_to(self, block: np.ndarray, clusters: np.ndarray) -> np.ndarray:
        """Distance float32 (n,) of prepared rows, float32 (n, d), to given clusters, int64 (n,).

        Raises:
            ValueError: if the level is split: its centroids are not held together.
        """
        if self._is_split:
            raise ValueError("the level is split: assign rows to it, which gives the distances too")
        return self._assigner.distances_to(block, clusters)


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
        assigner = self.levels[0].assigner(metric=self.metric, device=device)
        for start, stop in chunk_bounds(rows):
            block = rows.read(start, stop)
            if not np.isfinite(block).all():
                raise ValueError(f"rows {start} to {stop} of x hold values that are not finite: drop them")
            clusters[start:stop, 0], _ = assigner.assign(self.preprocessing.apply(block))
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
