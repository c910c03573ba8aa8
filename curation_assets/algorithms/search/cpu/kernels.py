"""Searches among centroids on the CPU: tensors to the compiled loops."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from curation_assets.algorithms.compiled import top_two_rows
from curation_assets.algorithms.search.cpu.bounded_search import Answers, RowLimits, Task, search_rows
from curation_assets.algorithms.threads import in_parts

if TYPE_CHECKING:
    from curation_assets.algorithms.search.codebook import Codebook

# Scores that a thread looks at while they are in the cache.
_SCORES_BYTES = 4 * 2**20
# Share of open centroids beyond which a product with all of them is faster than scoring them two by two.
_MOST_OPEN = 0.7


def search_bounded(
    block: torch.Tensor,
    order: torch.Tensor,
    bounds: torch.Tensor,
    book: Codebook,
    limits: RowLimits,
    answers: Answers,
    *,
    runner_up: bool = False,
    roundoff: float = 0.0,
) -> None:
    """Find the best centroid of each row, scoring only centroids that its bounds do not rule out.

    Four rows whose bounds rule out too little are left: their centroid is -1.

    Args:
        block: float32 (b, d) on the CPU.
        order: int64 (o,): rows to search for, similar ones next to each other: four at a time share what is scored.
        bounds: float32 or bfloat16 (o, q), in that order, q >= m a multiple of 8: with `limits.above` added, no less
            than the scores, and lower than any score from column m on; overwritten.
        book: m centroids.
        limits: of the rows.
        answers: filled in for the rows of `order`.
        runner_up: go on until the best of the others is known too; otherwise what is said of them only shows whether
            the winner is clear.
        roundoff: share of itself by which a bound may be too low.
    """
    bits = bounds.view(torch.int16 if bounds.dtype == torch.bfloat16 else torch.int32)
    arrays = (tensor.numpy() for tensor in (block, order, bits, book.centroids, book.bias))
    search_rows(Task(*arrays), limits, answers, not runner_up, _MOST_OPEN, np.float32(roundoff))


def search_all(
    block: torch.Tensor, book: Codebook, at_least: torch.Tensor, left_out: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The best and the second-best score of each row among all centroids.

    Args:
        block: float32 (b, d) on the CPU.
        book: k centroids.
        at_least: float32 (b,): a row whose best score is lower is of no interest; only that score is certain.
        left_out: int64 (b,): a centroid that does not count, or -1.

    Returns:
        column int64 (b,), its score float32 (b,), second-best score float32 (b,). Peak memory beside them: on each
        thread the scores of 64 rows, or 4 MiB of them.
    """
    n_rows = len(block)
    best, second = torch.empty(n_rows), torch.empty(n_rows)
    column = torch.empty(n_rows, dtype=torch.int64)
    left_out = torch.full((n_rows,), -1) if left_out is None else left_out
    step = max(64, _SCORES_BYTES // (4 * len(book)))

    def search(start: int, stop: int) -> None:
        scores = torch.empty(min(step, stop - start), len(book))
        for first in range(start, stop, step):
            part = slice(first, min(first + step, stop))
            here = torch.addmm(book.bias, block[part], book.centroids.T, out=scores[: part.stop - first])
            tensors = (here, at_least[part], left_out[part], best[part], column[part], second[part])
            top_two_rows(*(tensor.numpy() for tensor in tensors))

    in_parts(search, n_rows, book.centroids.numel())
    return column, best, second
