"""Scores and distances of pairs of a row and a centroid, and searches among centroids, on the processor.

See `compiled_loops` for what their sums may be off by.
"""

from __future__ import annotations

import numpy as np
import torch

from curation_assets.algorithms.compiled import (
    find_moved,
    score_pairs,
    square_pairs,
    top_two_rows,
)
from curation_assets.algorithms.search.cpu.bounded_search import search_rows
from curation_assets.algorithms.threads import VALUE_WORK, in_parts

# Of scores that a thread looks at while they are in the cache.
_SCORES_BYTES = 4 * 2**20
# Share of the centroids beyond which a product with all of them is faster than scoring them two by two.
_MOST_OPEN = 0.7


def pair_scores(
    block: torch.Tensor,
    rows: torch.Tensor | None,
    centroids: torch.Tensor,
    bias: torch.Tensor,
    clusters: torch.Tensor,
) -> torch.Tensor:
    """Scores of (row, centroid) pairs.

    Args:
        block: float32 (b, d) on the CPU.
        rows: int64 (p,) rows of the block; None pairs row i with clusters[i].
        centroids: float32 (k, d).
        bias: float32 (k,), added to the product.
        clusters: int64 (p,).

    Returns:
        float32 (p,).
    """
    rows = torch.arange(len(clusters)) if rows is None else rows
    result = torch.empty(len(rows), dtype=torch.float32)
    arrays = [tensor.numpy() for tensor in (block, rows, centroids, bias, clusters, result)]
    in_parts(lambda start, stop: score_pairs(start, stop, *arrays), len(rows), VALUE_WORK * block.shape[1])
    return result


def pair_squared_distances(
    block: torch.Tensor, rows: torch.Tensor | None, centroids: torch.Tensor, clusters: torch.Tensor
) -> torch.Tensor:
    """Squared Euclidean distances of (row, centroid) pairs, see `assignment.squared_distances`.

    Args:
        block: float32 (b, d) on the CPU.
        rows: int64 (p,) rows of the block; None pairs row i with clusters[i].
        centroids: float32 (k, d).
        clusters: int64 (p,).

    Returns:
        float64 (p,).
    """
    rows = torch.arange(len(clusters)) if rows is None else rows
    result = torch.empty(len(rows), dtype=torch.float64)
    arrays = [tensor.numpy() for tensor in (block, rows, centroids, clusters, result)]
    in_parts(lambda start, stop: square_pairs(start, stop, *arrays), len(rows), VALUE_WORK * block.shape[1])
    return result


def squared_lengths(block: torch.Tensor) -> torch.Tensor:
    """Squared lengths, float64 (b,), of float32 rows (b, d) on the CPU."""
    origin, number = torch.zeros(1, block.shape[1]), torch.zeros(len(block), dtype=torch.int64)
    return pair_squared_distances(block, None, origin, number)


def moved_rows(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """Which rows of two matrices differ, bool (k,).

    Args:
        before: float32 (k, d) on the CPU.
        after: as large.
    """
    is_moved = torch.empty(len(before), dtype=torch.bool)
    arrays = [tensor.numpy() for tensor in (before, after, is_moved)]
    in_parts(lambda start, stop: find_moved(start, stop, *arrays), len(before), VALUE_WORK * before.shape[1])
    return is_moved


def search_bounded(
    block: torch.Tensor,
    order: torch.Tensor,
    bounds: torch.Tensor,
    centroids: torch.Tensor,
    bias: torch.Tensor,
    at_least: torch.Tensor,
    error: torch.Tensor,
    slack: torch.Tensor,
    own: torch.Tensor | None,
    left_out: torch.Tensor | None,
    found: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    *,
    roundoff: float = 0.0,
) -> None:
    """Find the best centroid of each row, of which only those are scored whose bound does not rule them out.

    Four rows of which the bounds rule out too few are left: their centroid is -1.

    Args:
        block: float32 (b, d) on the CPU.
        order: int64 (o,): rows to search for, those that resemble each other in a row: four at a time share what is
            scored.
        bounds: float32 or bfloat16 (o, q), in that order, q >= m a multiple of 8: with `error` added, no less than
            the scores, and lower than any score from column m on; overwritten.
        centroids: float32 (m, d).
        bias: float32 (m,).
        at_least: float32 (b,): lower scores are of no interest; -inf where nothing is known.
        error: float32 (b,).
        slack: float32 (b,): scores as far apart as that may be in either order.
        own: float32 (b,): score of a centroid that is not among these; the search then goes on until the best of
            the others is known too. None looks for the best alone.
        left_out: int64 (b,): position of a centroid that does not count, or -1.
        found: filled in: the centroid int64 (b,), its float32 score (b,), -inf where none was scored, and float32
            (b,) what no other one's score exceeds, no tighter than need be where the best alone is looked for.
        roundoff: share of itself by which a bound may be lower than what is no less than a score.
    """
    column, best, others = found
    is_alone = own is None
    own = best if own is None else own
    left_out = torch.full_like(column, -1) if left_out is None else left_out
    of_rows = (at_least, error, slack, own, left_out, column, best, others)
    bits = bounds.view(torch.int16 if bounds.dtype == torch.bfloat16 else torch.int32)
    tensors = (block, order, bits, centroids, bias, *of_rows)
    search_rows(is_alone, _MOST_OPEN, np.float32(roundoff), *(tensor.numpy() for tensor in tensors))


def search_all(
    block: torch.Tensor, centroids: torch.Tensor, bias: torch.Tensor, at_least: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The best and the second-best score of each row, see `assignment.top_two`.

    Args:
        block: float32 (b, d) on the CPU.
        centroids: float32 (k, d).
        bias: float32 (k,).
        at_least: float32 (b,): a row whose best score is lower is of no interest.

    Returns:
        best float32 (b,), its column int64 (b,), second-best float32 (b,). Peak memory beside them: on each thread
        the scores of 64 rows, or 4 MiB of them.
    """
    n_rows = len(block)
    best, second = torch.empty(n_rows), torch.empty(n_rows)
    column = torch.empty(n_rows, dtype=torch.int64)
    step = max(64, _SCORES_BYTES // (4 * len(centroids)))

    def search(start: int, stop: int) -> None:
        scores = torch.empty(min(step, stop - start), len(centroids))
        for first in range(start, stop, step):
            part = slice(first, min(first + step, stop))
            here = torch.addmm(bias, block[part], centroids.T, out=scores[: part.stop - first])
            tensors = (here, at_least[part], best[part], column[part], second[part])
            top_two_rows(*(tensor.numpy() for tensor in tensors))

    in_parts(search, n_rows, centroids.numel())
    return best, column, second
