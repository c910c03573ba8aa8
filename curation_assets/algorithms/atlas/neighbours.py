"""Nearest neighbours among a few thousand rows, exactly."""

from __future__ import annotations

import math

import numpy as np
import torch

from curation_assets.algorithms.neighbours.exact import most_similar
from curation_assets.algorithms.rows import as_tensor
from curation_assets.algorithms.search.pairs import reported_distance, squared_distances, squared_lengths
from curation_assets.algorithms.search.rounding import product_error
from curation_assets.algorithms.settings import Metric


def nearest_neighbours(
    rows: np.ndarray, n_neighbours: int, *, metric: Metric, device: str = "cpu"
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest other rows of each row, nearest first and equally near ones by their number.

    Args:
        rows: float32 (n, d), prepared by the tree's `Preprocessing`: of unit length for cosine.
        n_neighbours: of each row; all others where there are fewer.
        metric: cosine reports 1 - cos, l2 Euclidean distance.
        device: torch device.

    Returns:
        indices int64 and distances float32, both (n, min(n_neighbours, n - 1)). Peak memory: the rows twice more.

    Raises:
        ValueError: if `n_neighbours` is below 1.
    """
    if n_neighbours < 1:
        raise ValueError(f"n_neighbours is {n_neighbours}; must be at least 1")
    n = len(rows)
    k = max(0, min(n_neighbours, n - 1))
    if not k:
        return np.empty((n, 0), dtype=np.int64), np.empty((n, 0), dtype=np.float32)
    block = as_tensor(rows, device)
    lengths = squared_lengths(block)
    # A power of two: dividing by it rounds nothing, and no row is longer than 1 afterwards.
    scale = 2.0 ** math.ceil(math.log2(math.sqrt(float(lengths.max())) or 1.0))
    unit, half = block / scale, (lengths / (2 * scale**2)).float()[:, None]
    # |x - y|^2 / 2 = |x|^2 / 2 - (x.y - |y|^2 / 2): the nearest y has the highest product of (x, 1) and
    # (y, -|y|^2 / 2).
    queries = torch.cat([unit, torch.ones_like(half)], dim=1)
    references = torch.cat([unit, -half], dim=1)

    def nearness(row: torch.Tensor, column: torch.Tensor) -> torch.Tensor:
        # From differences, so that copies are at 0. A row is the last of its own neighbours.
        squared = squared_distances(block, row, block, column)
        return torch.where(row == column, -math.inf, -squared)

    # The rows are no longer than sqrt(2) and sqrt(5) / 2. What rounds |y|^2 / 2 is below a hundredth of that.
    error = 1.6 * product_error(queries.shape[1])
    indices, nearest = most_similar(queries, references, k + 1, exact=nearness, error=error)
    distances = reported_distance(-nearest[:, :k], metric)
    return indices[:, :k].cpu().numpy(), distances.cpu().numpy()
