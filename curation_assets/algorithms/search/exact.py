"""Decisions in float64, where float32 scores are too close to call."""

from __future__ import annotations

import math

import torch

from curation_assets.algorithms.search.codebook import MOST_CENTROIDS, Codebook
from curation_assets.algorithms.search.cuda.compact import Block
from curation_assets.algorithms.search.pairs import squared_distances


def resolve(
    block: Block, book: Codebook, threshold: torch.Tensor, left_out: torch.Tensor | None = None
) -> torch.Tensor:
    """Nearest centroid by float64 comparison of every centroid that scores at least `threshold`.

    Args:
        block: b rows.
        book: the centroids.
        threshold: float32 (b,), below the score of the row's nearest centroid.
        left_out: int64 (b,): a centroid that does not count, or -1.

    Returns:
        int64 (b,); of equally near centroids the lowest index.
    """
    smallest = torch.full((len(block),), math.inf, dtype=torch.float64, device=block.device)
    column = torch.zeros(len(block), dtype=torch.int64, device=block.device)
    step = book.tile_rows()
    for row in range(0, len(block), step):
        rows = slice(row, row + step)
        for first in range(0, len(book), MOST_CENTROIDS):
            scores = book[first : first + MOST_CENTROIDS].scores(block[rows])
            if left_out is not None:
                leave_out(scores, left_out[rows] - first)
            pairs = torch.nonzero(scores >= threshold[rows, None])
            mine, clusters = pairs[:, 0], pairs[:, 1] + first
            squared = squared_distances(block[rows], mine, book.centroids, clusters)
            here, lowest = lowest_nearest(mine, clusters, squared, len(scores))
            # Centroids come in order: an equally near one that comes later has the higher index.
            wins = here < smallest[rows]
            smallest[rows][wins], column[rows][wins] = here[wins], lowest[wins]
    return column


def lowest_nearest(
    row: torch.Tensor, column: torch.Tensor, squared: torch.Tensor, n_rows: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The nearest column of each row among pairs.

    Args:
        row: int64 (p,).
        column: int64 (p,).
        squared: float64 (p,): squared distances.
        n_rows: rows.

    Returns:
        The smallest squared distance float64 (n_rows,), infinite for a row without a pair, and its column int64
        (n_rows,), the lowest of equally near ones.
    """
    smallest = squared.new_full((n_rows,), math.inf).scatter_reduce(0, row, squared, "amin")
    at_minimum = squared == smallest[row]
    beyond = torch.full((n_rows,), 2**62, dtype=torch.int64, device=row.device)
    return smallest, beyond.scatter_reduce(0, row[at_minimum], column[at_minimum], "amin")


def leave_out(scores: torch.Tensor, left_out: torch.Tensor) -> None:
    """Lower one of the scores float32 (b, k) of each row to -infinity, in place.

    `left_out`, int64 (b,), names its column; rows whose column does not exist stay as they are.
    """
    rows = torch.nonzero((left_out >= 0) & (left_out < scores.shape[1])).flatten()
    scores[rows, left_out[rows]] = -math.inf
