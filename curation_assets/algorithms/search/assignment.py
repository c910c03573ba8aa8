"""Exact nearest centroids at the speed of a float32 matrix product.

A float32 product finds for each row the best and the second-best centroid. Where the two lie closer than the
product's rounding error could bridge, the contenders are compared again in float64. The answer is therefore
the true nearest centroid (the lowest index where two are equally near), whatever the chunk size, the number
of threads, the BLAS library or the device.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from curation_assets.algorithms.rows import Metric
from curation_assets.algorithms.search.cpu import kernels as pair_kernels
from curation_assets.algorithms.search.cpu.kernels import (
    moved_rows,
    pair_scores,
    pair_squared_distances,
    search_all,
)
from curation_assets.algorithms.search.cpu.sketch import Sketches
from curation_assets.algorithms.search.cpu.sketched_centroids import SketchedCentroids
from curation_assets.algorithms.search.rounded_scores import RoundedCentroids
from curation_assets.algorithms.search.rounding_errors import product_error
from curation_assets.algorithms.search.row_maxima import row_argmax

# A tile of rows against all columns should stay in the last-level cache: measured on 2 cores, k = 2,000,
# d = 384, the top-2 search then adds 20 % to the product instead of 60 %.
_TILE_BYTES = 8 * 2**20
_TILE_COLUMNS = 65_536
_PAIR_BYTES = 32 * 2**20


@dataclass(frozen=True, slots=True)
class Codebook:
    """Centroids prepared for search; `score` = x.c - |c|^2 / 2 is largest for the nearest centroid."""

    centroids: torch.Tensor
    """float32 (k, d)."""
    bias: torch.Tensor
    """float32 (k,): -|c|^2 / 2."""
    largest_norm: float

    @classmethod
    def of(cls, centroids: torch.Tensor) -> Codebook:
        """Prepare float32 centroids of shape (k, d)."""
        squared = squared_lengths(centroids)
        return cls(centroids, (-0.5 * squared).float(), math.sqrt(float(squared.max())))

    def error_bound(self, norms: torch.Tensor) -> torch.Tensor:
        """What a float32 score of rows with the given lengths, float32 (b,), may be off by, float32 (b,)."""
        return (
            product_error(self.centroids.shape[1]) * self.largest_norm * (norms + 0.5 * self.largest_norm)
            + 1e-37
        )

    def tile_rows(self) -> int:
        """Rows of a tile whose scores against all centroids fit the cache."""
        return tile_rows(len(self.centroids))

    def scores(
        self, block: torch.Tensor, clusters: torch.Tensor, rows: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Scores of rows against one centroid each.

        Args:
            block: float32 (b, d).
            clusters: int64 (p,).
            rows: int64 (p,) rows of the block; None pairs row i with clusters[i].

        Returns:
            float32 (p,).
        """
        if block.device.type == "cpu":
            return pair_scores(block, rows, self.centroids, self.bias, clusters)
        result = torch.empty(len(clusters), dtype=torch.float32, device=block.device)
        step = tile_rows(2 * block.shape[1])
        for start in range(0, len(clusters), step):
            piece = slice(start, start + step)
            left = block[piece] if rows is None else block.index_select(0, rows[piece])
            result[piece] = self.centroids.index_select(0, clusters[piece]).mul_(left).sum(dim=1)
        return result + self.bias[clusters]


def tile_rows(n_columns: int) -> int:
    """Rows of a tile whose scores against `n_columns` centroids fit the cache."""
    return max(64, min(4096, _TILE_BYTES // (4 * max(1, min(n_columns, _TILE_COLUMNS)))))


def top_two(
    block: torch.Tensor, centroids: torch.Tensor, bias: torch.Tensor, at_least: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Best and second-best float32 score of each row.

    Args:
        block: float32 (b, d).
        centroids: float32 (k, d).
        bias: float32 (k,).
        at_least: float32 (b,): a row whose best score is lower is of no interest; only its best score is
            certain to be filled in, its second-best may be its best.

    Returns:
        best float32 (b,), its column int64 (b,), second-best float32 (b,), -inf where k is 1.
    """
    if len(centroids) <= _TILE_COLUMNS:
        return _top_two_of_tile(block, centroids, bias, at_least)
    best = block.new_full((len(block),), -math.inf)
    second = best.clone()
    column = torch.zeros(len(block), dtype=torch.int64, device=block.device)
    for start in range(0, len(centroids), _TILE_COLUMNS):
        tile = slice(start, start + _TILE_COLUMNS)
        here_best, here_column, here_second = _top_two_of_tile(block, centroids[tile], bias[tile], None)
        wins = here_best > best
        second = torch.maximum(torch.minimum(best, here_best), torch.where(wins, here_second, second))
        best = torch.where(wins, here_best, best)
        column = torch.where(wins, here_column + start, column)
    return best, column, second


def _top_two_of_tile(
    block: torch.Tensor, centroids: torch.Tensor, bias: torch.Tensor, at_least: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    if block.device.type == "cpu":
        lowest = torch.full_like(block[:, 0], -math.inf) if at_least is None else at_least
        return search_all(block, centroids, bias, lowest)
    scores = torch.addmm(bias, block, centroids.T)
    if at_least is None:
        column = row_argmax(scores)
        best = scores.gather(1, column[:, None])[:, 0]
        return best, column, _without(scores, column).amax(dim=1)
    best = scores.amax(dim=1)
    column, second = torch.zeros(len(scores), dtype=torch.int64, device=scores.device), best.clone()
    rows = torch.nonzero(best >= at_least).flatten()
    if len(rows):
        scores = scores[rows]
        column[rows] = row_argmax(scores)
        second[rows] = _without(scores, column[rows]).amax(dim=1)
    return best, column, second


def _without(scores: torch.Tensor, column: torch.Tensor) -> torch.Tensor:
    return scores.scatter_(1, column[:, None], -math.inf)


def nearest(
    block: torch.Tensor, norms: torch.Tensor, book: Codebook
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The exact nearest centroid of each row of a tile.

    Args:
        block: float32 (b, d).
        norms: float32 (b,): lengths of the rows.
        book: the centroids.

    Returns:
        cluster int64 (b,), its float32 score (b,) and a float32 score (b,) that no other centroid exceeds,
        both accurate to `book.error_bound`.
    """
    best, column, second = top_two(block, book.centroids, book.bias)
    bound = book.error_bound(norms)
    unsure = torch.nonzero(best - second <= 2 * bound).flatten()
    if len(unsure):
        column[unsure] = resolve(block.index_select(0, unsure), book, best[unsure] - 2 * bound[unsure])
        second[unsure] = best[unsure]
    return column, best, second


def resolve(block: torch.Tensor, book: Codebook, threshold: torch.Tensor) -> torch.Tensor:
    """Nearest centroid by float64 comparison of every centroid that scores at least `threshold`.

    Args:
        block: float32 (b, d).
        book: the centroids.
        threshold: float32 (b,), below the score of the row's nearest centroid.

    Returns:
        int64 (b,); of equally near centroids the lowest index.
    """
    best = torch.full((len(block),), math.inf, dtype=torch.float64, device=block.device)
    column = torch.zeros(len(block), dtype=torch.int64, device=block.device)
    step = tile_rows(len(book.centroids))
    for row_start in range(0, len(block), step):
        rows = slice(row_start, row_start + step)
        for start in range(0, len(book.centroids), _TILE_COLUMNS):
            tile = slice(start, start + _TILE_COLUMNS)
            scores = torch.addmm(book.bias[tile], block[rows], book.centroids[tile].T)
            pairs = torch.nonzero(scores >= threshold[rows, None])
            if len(pairs):
                _keep_nearest(block, book, pairs[:, 0] + row_start, pairs[:, 1] + start, best, column)
    return column


def _keep_nearest(
    block: torch.Tensor,
    book: Codebook,
    row: torch.Tensor,
    cluster: torch.Tensor,
    best: torch.Tensor,
    column: torch.Tensor,
) -> None:
    """Update `best` and `column` in place with (row, cluster) pairs, sorted by row, then cluster."""
    squared = squared_distances(block, row, book.centroids, cluster)
    nearest_here = torch.full_like(best, math.inf).scatter_reduce(0, row, squared, "amin")
    at_minimum = squared == nearest_here[row]
    lowest = torch.full_like(column, len(book.centroids)).scatter_reduce(
        0, row[at_minimum], cluster[at_minimum], "amin"
    )
    wins = nearest_here < best
    best[wins] = nearest_here[wins]
    column[wins] = lowest[wins]


def squared_distances(
    block: torch.Tensor, rows: torch.Tensor | None, centroids: torch.Tensor, clusters: torch.Tensor
) -> torch.Tensor:
    """Squared Euclidean distances of (row, centroid) pairs, summed in float64.

    Each pair's sum runs over its d terms alone, so that its value does not depend on the other pairs.

    Args:
        block: float32 (b, d).
        rows: int64 (p,) rows of `block`; None pairs row i with clusters[i].
        centroids: float32 (k, d).
        clusters: int64 (p,).

    Returns:
        float64 (p,). Peak memory on CUDA is two blocks of 32 MiB beside the result.
    """
    if block.device.type == "cpu":
        return pair_squared_distances(block, rows, centroids, clusters)
    result = torch.empty(len(clusters), dtype=torch.float64, device=block.device)
    step = max(1, _PAIR_BYTES // (8 * block.shape[1]))
    for start in range(0, len(clusters), step):
        piece = slice(start, start + step)
        left = block[piece] if rows is None else block.index_select(0, rows[piece])
        difference = left.double() - centroids.index_select(0, clusters[piece]).double()
        result[piece] = difference.square_().sum(dim=1)
    return result


def squared_lengths(block: torch.Tensor) -> torch.Tensor:
    """Squared Euclidean lengths of rows float32 (b, d), summed in float64 (b,)."""
    if block.device.type == "cpu":
        return pair_kernels.squared_lengths(block)
    return block.double().square_().sum(dim=1)


def moved_centroids(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """Which centroids, float32 (k, d), are not what they were before, bool (k,)."""
    return moved_rows(before, after) if after.device.type == "cpu" else (before != after).any(dim=1)


def reported_distance(squared: torch.Tensor, metric: Metric) -> torch.Tensor:
    """Squared Euclidean distances as the metric's own: 1 - cos for cosine, Euclidean for l2, float32."""
    return (squared / 2 if metric == "cosine" else squared.sqrt()).float()


def nearest_sketched(
    block: torch.Tensor,
    sketches: Sketches,
    norms: torch.Tensor,
    book: Codebook,
    sketched: SketchedCentroids,
    at_least: torch.Tensor,
    *,
    with_runner_up: bool = False,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None:
    """`nearest`, where only centroids are scored that their sketches do not rule out.

    Args:
        block: float32 (b, d).
        sketches: of the rows.
        norms: float32 (b,): lengths of the rows.
        book: the centroids.
        sketched: the same ones.
        at_least: float32 (b,): no more than the score of the row's nearest centroid; -inf if unknown.
        with_runner_up: whether the other score that is returned should be no larger than need be.

    Returns:
        See `nearest`; None if the sketches rule out too few.
    """
    bound = book.error_bound(norms)
    own = torch.full_like(norms, -math.inf) if with_runner_up else None
    found = sketched.search(block, sketches, norms, at_least, bound, own)
    if found is None:
        return None
    column, best, second = found
    unsure = torch.nonzero(best - second <= 2 * bound).flatten()
    if len(unsure):
        column[unsure] = resolve(block.index_select(0, unsure), book, best[unsure] - 2 * bound[unsure])
        second[unsure] = best[unsure]
    return column, best, second


def nearest_of_unsure(
    block: torch.Tensor,
    norms: torch.Tensor,
    residuals: torch.Tensor,
    at_least: torch.Tensor,
    book: Codebook,
    rounded: RoundedCentroids,
) -> torch.Tensor:
    """The exact nearest centroids of rows for which `rounded.leaders` names several that may be it.

    Args:
        block: float32 (b, d).
        norms: float32 (b,): lengths of the rows.
        residuals: float32 (b,), see `rounding_residuals`.
        at_least: float32 (b,), below the score of the row's nearest centroid by `book.error_bound` or more.
        book: the centroids.
        rounded: the same ones.

    Returns:
        int64 (b,); of equally near centroids the lowest index.
    """
    pairs = rounded.contenders(block, norms, residuals, at_least, book.error_bound(norms))
    if pairs is None:
        return nearest(block, norms, book)[0]
    best = torch.full((len(block),), math.inf, dtype=torch.float64, device=block.device)
    column = torch.zeros(len(block), dtype=torch.int64, device=block.device)
    _keep_nearest(block, book, *pairs, best, column)
    return column
