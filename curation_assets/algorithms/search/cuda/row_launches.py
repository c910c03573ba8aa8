"""Launches of the kernels of single rows on torch tensors.

Triton launches on the current device, so every launch makes that of its rows the current one.
"""

from __future__ import annotations

import torch

from curation_assets.algorithms.search.cuda.compact import Block, as_loaded, values_of
from curation_assets.algorithms.search.cuda.rounding import ScoreError

# Pairs of one program, of one that scores, and the dimensions that it takes at a time.
_PAIRS, _SCORED_PAIRS, _SCORED_PIECE = 32, 16, 128
# Rows and dimensions that one program adds up.
_RUN, _RUN_PIECE = 64, 256


def pair_squares(
    rows: Block, numbers: torch.Tensor | None, centroids: torch.Tensor, columns: torch.Tensor
) -> torch.Tensor:
    """Squared distances of (row, centroid) pairs, float64 (p,), with the bits of the CPU's.

    Args:
        rows: n of them, float32, float16 or compact.
        numbers: int64 (p,) of the rows; None pairs row i with columns[i].
        centroids: float32 (k, d).
        columns: int64 (p,).
    """
    from curation_assets.algorithms.search.cuda.row_kernels import pair_squares_kernel

    squares = torch.empty(len(columns), dtype=torch.float64, device=rows.device)
    if len(columns):
        beside, constants = as_loaded(rows)
        with torch.cuda.device_of(centroids):
            pair_squares_kernel[(-(-len(columns) // _PAIRS),)](
                values_of(rows), *_dense(columns if numbers is None else numbers, centroids, columns), squares,
                len(columns), *beside, HAS_NUMBERS=numbers is not None, PAIRS=_PAIRS, num_warps=2,
                enable_fp_fusion=False, **constants,
            )  # fmt: skip
    return squares


def pair_scores(
    rows: Block,
    numbers: torch.Tensor | None,
    centroids: torch.Tensor,
    bias: torch.Tensor,
    columns: torch.Tensor,
) -> torch.Tensor:
    """Scores of (row, centroid) pairs, float32 (p,), rounded from float64.

    Args:
        rows: n of them, float32, float16 or compact.
        numbers: int64 (p,) of the rows; None pairs row i with columns[i].
        centroids: float32 (k, d).
        bias: float32, at least (k,).
        columns: int64 (p,).
    """
    scores = torch.empty(len(columns), dtype=torch.float32, device=rows.device)
    _score(rows, numbers, centroids, bias, columns, None, scores)
    return scores


def score_again(
    rows: Block,
    centroids: torch.Tensor,
    bias: torch.Tensor,
    columns: torch.Tensor,
    before: torch.Tensor,
    scores: torch.Tensor,
) -> None:
    """Replace the scores of rows whose centroid has changed; see `pair_scores`.

    Args:
        rows: n of them, float32, float16 or compact.
        centroids: float32 (k, d).
        bias: float32, at least (k,).
        columns: int64 (n,): the centroids.
        before: int64 (n,): those whose scores are known.
        scores: float32 (n,), changed.
    """
    _score(rows, None, centroids, bias, columns, before, scores)


def _score(
    rows: Block,
    numbers: torch.Tensor | None,
    centroids: torch.Tensor,
    bias: torch.Tensor,
    columns: torch.Tensor,
    before: torch.Tensor | None,
    scores: torch.Tensor,
) -> None:
    from curation_assets.algorithms.search.cuda.row_kernels import pair_scores_kernel

    if not len(columns):
        return
    beside, constants = as_loaded(rows)
    numbers, has_numbers = (columns, False) if numbers is None else (numbers, True)
    before, has_before = (columns, False) if before is None else (before, True)
    with torch.cuda.device_of(centroids):
        pair_scores_kernel[(-(-len(columns) // _SCORED_PAIRS),)](
            values_of(rows), *_dense(numbers, centroids, bias, columns, before), scores, len(columns), *beside,
            HAS_NUMBERS=has_numbers, HAS_BEFORE=has_before, PAIRS=_SCORED_PAIRS, PIECE=_SCORED_PIECE, num_warps=4,
            **constants,
        )  # fmt: skip


def settle(
    block: Block,
    norms: torch.Tensor,
    residuals: torch.Tensor,
    at_least: torch.Tensor | None,
    centroids: torch.Tensor,
    bias: torch.Tensor,
    two_best: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    error: ScoreError,
    share: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """What the two best scores settle, see `row_kernels.settle_kernel`.

    Args:
        block: n rows, float32, float16 or compact.
        norms: float32 (n,): lengths of the rows.
        residuals: float32 (n,) of the rows.
        at_least: float32 (n,): lower scores are of no interest; None takes all.
        centroids: float32 (k, d).
        bias: float32, at least (k,).
        two_best: best, column and second-best of each row, see `best_two`.
        error: of the scores.
        share: of themselves by which the scores of `best_two` may be wrong in addition.

    Returns:
        Columns int64 (n,), scores float32 (n,), what no other score exceeds float32 (n,), and thresholds float32 (n,).
    """
    from curation_assets.algorithms.search.cuda.row_kernels import settle_kernel

    columns = torch.empty(len(block), dtype=torch.int64, device=block.device)
    scores, others, thresholds = (torch.empty_like(norms) for _ in range(3))
    if len(block):
        beside, constants = as_loaded(block)
        settle_kernel[(-(-len(block) // _SCORED_PAIRS),)](
            values_of(block), *_dense(norms, residuals, norms if at_least is None else at_least, centroids), bias,
            *two_best, columns, scores, others, thresholds, len(block),
            error.of_norm, error.of_residual, error.constant, share, *beside,
            HAS_AT_LEAST=at_least is not None, ROWS=_SCORED_PAIRS, PIECE=_SCORED_PIECE,
            num_warps=4, **constants,
        )  # fmt: skip
    return columns, scores, others, thresholds


def sum_runs(
    rows: Block,
    numbers: torch.Tensor,
    clusters: torch.Tensor,
    mass: torch.Tensor | None,
    sums: torch.Tensor,
) -> None:
    """Add rows to the sums of their clusters, see `row_kernels.sum_runs_kernel`.

    Args:
        rows: b of them, float32, float16 or compact.
        numbers: int64 (n,) of the rows.
        clusters: int64 (n,), ascending.
        mass: float64 (n,): how often a row counts; None counts each once.
        sums: float64 (k, d), added to.
    """
    from curation_assets.algorithms.search.cuda.row_kernels import sum_runs_kernel

    if len(numbers):
        beside, constants = as_loaded(rows)
        with torch.cuda.device_of(sums):
            sum_runs_kernel[(-(-len(numbers) // _RUN), -(-rows.shape[1] // _RUN_PIECE))](
                values_of(rows), *_dense(numbers, clusters, clusters if mass is None else mass), sums, len(numbers),
                *beside, HAS_MASS=mass is not None, RUN=_RUN, PIECE=_RUN_PIECE, num_warps=4, **constants,
            )  # fmt: skip


def _dense(*tensors: torch.Tensor) -> list[torch.Tensor]:
    """Tensors as the kernels read them: without gaps, copied only where there are some."""
    return [tensor.contiguous() for tensor in tensors]
