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


def assign(
    block: np.ndarray,
    centroids: np.ndarray,
    *,
    metric: Metric,
    device: str = "cpu",
    choice: Choice | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Nearest centroid and distance of prepared rows.

    Args:
        block: float32 (n, d), prepared by the tree's `Preprocessing`.
        centroids: float32 (k, d).
        metric: how distances are reported.
        device: torch device.
        choice: see `nearest_centroids`.

    Returns:
        clusters int64 (n,) and distances float32 (n,).
    """
    search = nearest_centroids(Codebook.of(as_tensor(centroids, device)), len(block), choice=choice)
    rows = as_tensor(block)
    clusters = torch.empty(len(rows), dtype=torch.int64)
    distances = torch.empty(len(rows), dtype=torch.float32)

    def assign_tile(tile: slice) -> None:
        column, distance = assign_rows(search, SearchedRows.of(rows[tile].to(device)), metric)
        clusters[tile], distances[tile] = column.cpu(), distance.cpu()

    with parts_on_threads():
        size = even_size(len(rows), search.tile_rows(), device=device)
        on_threads(assign_tile, [(slice(i, i + size),) for i in range(0, len(rows), size)], device)
    return clusters.numpy(), distances.numpy()


def assign_rows(
    search: NearestCentroids, rows: SearchedRows, metric: Metric
) -> tuple[torch.Tensor, torch.Tensor]:
    """Nearest centroid int64 (b,) and distance float32 (b,) of rows that are on the search's device."""
    column = search.best(rows).column
    squared = squared_distances(rows.block, None, search.book.centroids, column)
    return column, reported_distance(squared, metric)


def distances_to(
    block: np.ndarray, centroids: np.ndarray, clusters: np.ndarray, *, metric: Metric, device: str = "cpu"
) -> np.ndarray:
    """Distance of prepared rows to given clusters.

    Args:
        block: float32 (n, d).
        centroids: float32 (k, d).
        clusters: int64 (n,).
        metric: how distances are reported.
        device: torch device.

    Returns:
        float32 (n,).
    """
    named = torch.tensor(clusters, device=device)
    squared = squared_distances(as_tensor(block, device), None, as_tensor(centroids, device), named)
    return reported_distance(squared, metric).cpu().numpy()
