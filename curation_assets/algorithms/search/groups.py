"""Nearest sub-clusters inside coarse clusters that are known, thousands of them in one pass."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from curation_assets.algorithms.rows import as_tensor
from curation_assets.algorithms.search.assigner import assign
from curation_assets.algorithms.search.codebook import MOST_CENTROIDS, Codebook
from curation_assets.algorithms.search.cuda.compact import PIECE
from curation_assets.algorithms.search.cuda.grouped_search import GroupedRows
from curation_assets.algorithms.search.cuda.rounding import LARGEST_NORM
from curation_assets.algorithms.search.exact import lowest_nearest
from curation_assets.algorithms.search.kind import Kind, kind_of
from curation_assets.algorithms.search.pairs import reported_distance, squared_distances
from curation_assets.algorithms.settings import Metric

# Coarse clusters are searched together up to this many rows and sub-clusters, which fit the cache (measured on 43,690
# rows, 2,000 x 50, d = 384: 0.15 s; 0.21 s with 16,384 sub-clusters together; 0.49 s with a search for each coarse
# cluster). One with more of either is searched by itself.
_ROWS, _CENTROIDS, _WIDTH = 4096, 1024, 1024
# On CUDA rows and sub-clusters of so many bytes each, as float32, are searched together.
_CUDA_BYTES = 128 * 2**20


def assign_inside(
    block: np.ndarray,
    coarse: np.ndarray,
    centroids: np.ndarray,
    bounds: np.ndarray,
    *,
    metric: Metric,
    device: str = "cpu",
) -> tuple[np.ndarray, np.ndarray]:
    """Nearest sub-cluster of prepared rows in their own coarse cluster, exact as `assign` is.

    Args:
        block: float32 (n, d).
        coarse: int64 (n,): coarse cluster of each row; it has at least one sub-cluster.
        centroids: float32 (k, d), may be memory-mapped: what the rows need is read, once.
        bounds: int64 (k_coarse + 1,): sub-clusters of coarse cluster c are bounds[c] up to bounds[c + 1].
        metric: how distances are reported.
        device: torch device.

    Returns:
        clusters int64 (n,) and distances float32 (n,). Peak memory beside them: about 60 MB at d = 384; on CUDA that of
        `block` and of as many bytes of sub-clusters as 128 MiB, and six times as much on the device.
    """
    limits, nearest = _Limits(_ROWS, _CENTROIDS, _WIDTH), _by_products
    if kind_of(torch.device(device)) is Kind.CUDA:
        # The kernels fill narrow rows up.
        most = max(1, _CUDA_BYTES // (4 * max(PIECE, block.shape[1])))
        limits, nearest = _Limits(most, most, MOST_CENTROIDS), _by_kernels
    order = np.argsort(coarse, kind="stable")
    present, starts = np.unique(coarse[order], return_index=True)
    sizes, widths = np.diff(np.append(starts, len(order))), bounds[present + 1] - bounds[present]
    clusters = np.empty(len(block), dtype=np.int64)
    distances = np.empty(len(block), dtype=np.float32)
    is_large = (sizes > limits.rows) | (widths > limits.width)
    for group in np.flatnonzero(is_large):
        rows = order[starts[group] : starts[group] + sizes[group]]
        first = bounds[present[group]]
        inside = centroids[first : first + widths[group]]
        found, distances[rows] = assign(block[rows], inside, metric=metric, device=device)
        clusters[rows] = first + found
    small = np.flatnonzero(~is_large)
    for batch in _batches(small, sizes, widths, limits):
        rows = order[_ranges(starts[batch], sizes[batch])]
        columns = _ranges(bounds[present[batch]], widths[batch])
        tile = as_tensor(block[rows], device)
        book = Codebook.of(as_tensor(centroids[columns], device))
        column = nearest(tile, book, sizes[batch], widths[batch])
        squared = squared_distances(tile, None, book.centroids, column)
        clusters[rows] = columns[column.cpu().numpy()]
        distances[rows] = reported_distance(squared, metric).cpu().numpy()
    return clusters, distances


@dataclass(frozen=True, slots=True)
class _Limits:
    """Of what is searched together."""

    rows: int
    centroids: int
    width: int
    """Sub-clusters of one coarse cluster."""


def _batches(
    groups: np.ndarray, sizes: np.ndarray, widths: np.ndarray, limits: _Limits
) -> Iterator[np.ndarray]:
    """Consecutive groups with no more rows and sub-clusters than a batch holds, at least one each."""
    rows, columns = np.cumsum(sizes[groups]), np.cumsum(widths[groups])
    start = 0
    while start < len(groups):
        before = (rows[start - 1], columns[start - 1]) if start else (0, 0)
        by_rows = np.searchsorted(rows, before[0] + limits.rows, side="right")
        by_columns = np.searchsorted(columns, before[1] + limits.centroids, side="right")
        stop = max(start + 1, int(min(by_rows, by_columns)))
        yield groups[start:stop]
        start = stop


def _ranges(starts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The numbers of ranges, one range after another."""
    # Entry j lies in range r from its offset on: starts[r] + (j - offsets[r]).
    offsets = np.cumsum(sizes) - sizes
    return np.arange(int(sizes.sum())) + np.repeat(starts - offsets, sizes)


def _by_kernels(tile: torch.Tensor, book: Codebook, sizes: np.ndarray, widths: np.ndarray) -> torch.Tensor:
    """As `_by_products`, in two launches for all groups."""
    rows = GroupedRows(tile, np.concatenate([[0], np.cumsum(sizes)]))
    if not rows.is_in_range or not book.largest_norm < LARGEST_NORM:
        return _by_products(tile, book, sizes, widths)
    places = rows.places(np.concatenate([[0], np.cumsum(widths)]))
    among = rows.among(book.centroids, places, book.largest_norm)
    return rows.nearest(among, rows.runs(np.ones(len(sizes), dtype=np.bool_)))


def _by_products(tile: torch.Tensor, book: Codebook, sizes: np.ndarray, widths: np.ndarray) -> torch.Tensor:
    """Column of `book` nearest to each row, int64 (n,).

    Args:
        tile: float32 (n, d), group after group.
        book: centroids, group after group.
        sizes: int64 (g,): rows of each group.
        widths: int64 (g,): centroids of each group.
    """
    column_starts = np.cumsum(widths) - widths
    scores = tile.new_full((len(tile), int(widths.max())), -math.inf)
    row = column = 0
    # One small product for each group is cheaper than a padded one for all (measured).
    for size, width in zip(sizes.tolist(), widths.tolist(), strict=True):
        inside = slice(column, column + width)
        rows = slice(row, row + size)
        scores[rows, :width] = book[inside].scores(tile[rows])
        row, column = row + size, column + width
    # As in `NearestCentroids.best`: what is within the error of the best is compared in float64.
    best, found = scores.max(dim=1)
    bound = book.error_bound(torch.linalg.vector_norm(tile, dim=1))
    close = scores >= (best - 2 * bound)[:, None]
    unsure = torch.nonzero(close.sum(dim=1) > 1).flatten()
    offsets = torch.from_numpy(np.repeat(column_starts, sizes)).to(tile.device)
    if len(unsure):
        pairs = torch.nonzero(close[unsure])
        mine = unsure[pairs[:, 0]]
        squared = squared_distances(tile, mine, book.centroids, offsets[mine] + pairs[:, 1])
        _, found[unsure] = lowest_nearest(pairs[:, 0], pairs[:, 1], squared, len(unsure))
    return offsets + found
