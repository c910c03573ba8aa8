"""Formulas for pairs of a row and a centroid, on any device."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from curation_assets.algorithms.search.cpu import kernels
from curation_assets.algorithms.search.cuda import row_launches
from curation_assets.algorithms.search.cuda.presence import runs_kernels
from curation_assets.algorithms.settings import Metric

_PAIR_BYTES = 32 * 2**20


def pair_scores(
    block: torch.Tensor,
    rows: torch.Tensor | None,
    centroids: torch.Tensor,
    bias: torch.Tensor,
    clusters: torch.Tensor,
) -> torch.Tensor:
    """Scores x.c - |c|^2 / 2 of (row, centroid) pairs.

    Args:
        block: float32 (b, d).
        rows: int64 (p,) rows of the block; None pairs row i with clusters[i].
        centroids: float32 (k, d).
        bias: float32 (k,): -|c|^2 / 2.
        clusters: int64 (p,).

    Returns:
        float32 (p,). Peak memory on CUDA is at most two blocks of 32 MiB beside the result.
    """
    if block.device.type == "cpu":
        return kernels.pair_scores(block, rows, centroids, bias, clusters)
    if runs_kernels(block.device):
        return row_launches.pair_scores(block, rows, centroids, bias, clusters)
    result = torch.empty(len(clusters), dtype=torch.float32, device=block.device)
    for piece, left in _pieces(block, rows, len(clusters), value_bytes=4):
        result[piece] = centroids.index_select(0, clusters[piece]).mul_(left).sum(dim=1)
    return result + bias[clusters]


def squared_distances(
    block: torch.Tensor, rows: torch.Tensor | None, centroids: torch.Tensor, clusters: torch.Tensor
) -> torch.Tensor:
    """Squared Euclidean distances |x - c|^2 of (row, centroid) pairs, summed in float64.

    The sum of a pair runs over its d terms alone: its value does not depend on the other pairs.

    Args:
        block: float32 (b, d).
        rows: int64 (p,) rows of `block`; None pairs row i with clusters[i].
        centroids: float32 (k, d).
        clusters: int64 (p,).

    Returns:
        float64 (p,). Peak memory on CUDA is at most two blocks of 32 MiB beside the result.
    """
    if block.device.type == "cpu":
        return kernels.pair_squared_distances(block, rows, centroids, clusters)
    if runs_kernels(block.device):
        return row_launches.pair_squares(block, rows, centroids, clusters)
    result = torch.empty(len(clusters), dtype=torch.float64, device=block.device)
    for piece, left in _pieces(block, rows, len(clusters), value_bytes=8):
        difference = left.double() - centroids.index_select(0, clusters[piece]).double()
        result[piece] = difference.square_().sum(dim=1)
    return result


def _pieces(
    block: torch.Tensor, rows: torch.Tensor | None, n_pairs: int, value_bytes: int
) -> Iterator[tuple[slice, torch.Tensor]]:
    """Ranges of the pairs and the rows they name, a bounded number of bytes at a time."""
    step = max(1, _PAIR_BYTES // (value_bytes * block.shape[1]))
    for start in range(0, n_pairs, step):
        piece = slice(start, start + step)
        yield piece, block[piece] if rows is None else block.index_select(0, rows[piece])


def squared_lengths(block: torch.Tensor) -> torch.Tensor:
    """Squared Euclidean lengths of rows float32 (b, d), summed in float64 (b,)."""
    if block.device.type == "cpu":
        return kernels.squared_lengths(block)
    return block.double().square_().sum(dim=1)


def moved_centroids(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """Which centroids, float32 (k, d), differ from what they were, bool (k,)."""
    return kernels.moved_rows(before, after) if after.device.type == "cpu" else (before != after).any(dim=1)


def reported_distance(squared: torch.Tensor, metric: Metric) -> torch.Tensor:
    """Distances as the metric reports them: 1 - cos = |x - c|^2 / 2 for cosine, |x - c| for l2, float32."""
    return (squared / 2 if metric == "cosine" else squared.sqrt()).float()
