"""Nearest neighbours among a few thousand rows: exact, in tiles."""

from __future__ import annotations

import numpy as np

from curation_assets.algorithms.settings import Metric

_TILE_BYTES = 64 * 2**20


def nearest_neighbours(
    rows: np.ndarray, n_neighbours: int, *, metric: Metric, tile_bytes: int = _TILE_BYTES
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest other rows of each row, nearest first and equally near ones by their number.

    Args:
        rows: float32 (n, d), prepared by the tree's `Preprocessing`: of unit length for cosine.
        n_neighbours: of each row; all others where there are fewer.
        metric: cosine reports 1 - cos, l2 Euclidean distance.
        tile_bytes: memory of one tile of distances.

    Returns:
        indices int64 and distances float32, both (n, min(n_neighbours, n - 1)).

    Raises:
        ValueError: if `n_neighbours` is below 1.
    """
    if n_neighbours < 1:
        raise ValueError(f"n_neighbours is {n_neighbours}; must be at least 1")
    n = len(rows)
    k = max(0, min(n_neighbours, n - 1))
    indices, distances = np.empty((n, k), dtype=np.int64), np.empty((n, k), dtype=np.float32)
    if not k:
        return indices, distances
    rows = np.asarray(rows, dtype=np.float32)
    squared_norms = np.einsum("ij,ij->i", rows, rows, dtype=np.float64)
    step = max(1, tile_bytes // (8 * n))
    for start in range(0, n, step):
        stop = min(start + step, n)
        # |x - y|^2 / 2 = |x|^2 / 2 + |y|^2 / 2 - x.y orders as the distance does; the row's own |x|^2 / 2 is left out.
        scores = 0.5 * squared_norms - rows[start:stop] @ rows.T
        scores[np.arange(stop - start), np.arange(start, stop)] = np.inf
        found = np.argpartition(scores, k - 1, axis=1)[:, :k]
        found.sort(axis=1)
        exact = _squared_distances(rows, start, found)
        order = np.argsort(exact, axis=1, kind="stable")
        indices[start:stop] = np.take_along_axis(found, order, axis=1)
        exact = np.take_along_axis(exact, order, axis=1)
        distances[start:stop] = exact / 2 if metric == "cosine" else np.sqrt(exact)
    return indices, distances


def _squared_distances(rows: np.ndarray, start: int, found: np.ndarray) -> np.ndarray:
    """Squared distances of rows from `start` on to those found for each, float64 (b, k).

    From differences: a product of equal rows would leave a rounding error where copies belong at 0.
    """
    exact = np.empty(found.shape)
    for column in range(found.shape[1]):
        difference = rows[start : start + len(found)].astype(np.float64) - rows[found[:, column]]
        exact[:, column] = np.einsum("ij,ij->i", difference, difference)
    return exact
