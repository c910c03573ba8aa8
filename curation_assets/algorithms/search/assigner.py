"""Rows to their nearest centroids, and how far they are."""

from __future__ import annotations

import numpy as np
import torch

from curation_assets.algorithms.rows import as_tensor
from curation_assets.algorithms.search.base import NearestCentroids, SearchedRows
from curation_assets.algorithms.search.choose import Choice, nearest_centroids
from curation_assets.algorithms.search.codebook import Codebook
from curation_assets.algorithms.search.pairs import reported_distance, squared_distances
from curation_assets.algorithms.settings import Metric
from curation_assets.algorithms.threads import even_size, on_threads, parts_on_threads

# Of rows that are copied to a device at a time.
_COPIED_BYTES = 2**29


class Assigner:
    """Assigns blocks of rows to centroids, which are moved to the device and prepared for searches once.

    Args:
        centroids: float32 (k, d).
        metric: how distances are reported.
        device: torch device.
        choice: see `nearest_centroids`.
    """

    def __init__(
        self, centroids: np.ndarray, *, metric: Metric, device: str = "cpu", choice: Choice | None = None
    ) -> None:
        self._book = Codebook.of(as_tensor(centroids, device))
        self.metric, self._device, self._choice = metric, device, choice
        self._search: NearestCentroids | None = None
        self._made_for = 0

    def assign(self, block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Nearest centroid and distance of prepared rows.

        Args:
            block: float32 (n, d), prepared by the tree's `Preprocessing`.

        Returns:
            clusters int64 (n,) and distances float32 (n,).
        """
        search = self.search_for(len(block))
        rows = as_tensor(block)
        clusters = torch.empty(len(rows), dtype=torch.int64)
        distances = torch.empty(len(rows), dtype=torch.float32)

        def assign_tile(tile: slice) -> None:
            column, distance = assign_rows(search, SearchedRows.of(rows[tile].to(self._device)), self.metric)
            clusters[tile], distances[tile] = column.cpu(), distance.cpu()

        with parts_on_threads():
            most = max(1, _COPIED_BYTES // (4 * max(1, rows.shape[1])))
            size = even_size(len(rows), min(search.tile_rows(), most), device=self._device)
            on_threads(assign_tile, [(slice(i, i + size),) for i in range(0, len(rows), size)], self._device)
        return clusters.numpy(), distances.numpy()

    def distances_to(self, block: np.ndarray, clusters: np.ndarray) -> np.ndarray:
        """Distance of prepared rows to given clusters.

        Args:
            block: float32 (n, d).
            clusters: int64 (n,).

        Returns:
            float32 (n,).
        """
        named = torch.tensor(clusters, device=self._device)
        squared = squared_distances(as_tensor(block, self._device), None, self._book.centroids, named)
        return reported_distance(squared, self.metric).cpu().numpy()

    def search_for(self, n_rows: int) -> NearestCentroids:
        """The search among the centroids for about some number of rows."""
        # What pays for many rows also serves the fewer ones of a last block.
        if self._search is None or n_rows > self._made_for:
            self._search, self._made_for = nearest_centroids(self._book, n_rows, choice=self._choice), n_rows
        return self._search


def assign(
    block: np.ndarray,
    centroids: np.ndarray,
    *,
    metric: Metric,
    device: str = "cpu",
    choice: Choice | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Nearest centroid and distance of the only block of rows; see `Assigner.assign`."""
    return Assigner(centroids, metric=metric, device=device, choice=choice).assign(block)


def assign_rows(
    search: NearestCentroids, rows: SearchedRows, metric: Metric
) -> tuple[torch.Tensor, torch.Tensor]:
    """Nearest centroid int64 (b,) and distance float32 (b,) of rows that are on the search's device."""
    column = search.best(rows).column
    squared = squared_distances(rows.block, None, search.book.centroids, column)
    return column, reported_distance(squared, metric)
