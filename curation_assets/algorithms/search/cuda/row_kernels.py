"""Triton kernels of single rows, in float64: scores and distances of pairs, what two scores settle, and sums.

This module imports triton, so import it inside functions.
"""

# Parameters have no types: Triton would look annotations up as names, apart from `tl.constexpr`.
# mypy: disallow-untyped-defs=False
# ruff: noqa: N803

from __future__ import annotations

import triton
import triton.language as tl

from curation_assets.algorithms.search.cuda.kernels import NO_SCORE
from curation_assets.algorithms.search.cuda.row_loads import load_lengths, load_rows


@triton.jit
def pair_squares_kernel(
    rows,
    row_numbers,
    centroids,
    columns,
    squares_out,
    n_pairs,
    mean,
    lengths,
    dimension,
    width,
    per_step,
    step,
    HAS_NUMBERS: tl.constexpr,
    PAIRS: tl.constexpr,
    IS_COMPACT: tl.constexpr,
    HAS_MEAN: tl.constexpr,
    HAS_LENGTHS: tl.constexpr,
):
    """Squared distances |x - c|^2 of (row, centroid) pairs in float64, summed in the order of the CPU's compiled loops.

    Eight sums, each of every eighth dimension, then ((0+4)+(2+6))+((1+5)+(3+7)), then the last d % 8 dimensions. The
    result has the bits of the CPU's. Launch it without fused multiply-adds.

    IN: rows, centroids and pairs of them. OUT: `squares_out`.

    Args:
        rows: float32 or float16 (n, width).
        row_numbers: int64 (p,); if not HAS_NUMBERS pair i is of row i.
        centroids: float32 (k, d).
        columns: int64 (p,).
        squares_out: float64 (p,).
        n_pairs: p.
        mean: see `load_rows`.
        lengths: see `compact.as_loaded`, as all from here to `step`.
        dimension: d.
        width: values from one row to the next.
        per_step: see `load_rows`.
        step: see `load_rows`.
        HAS_NUMBERS: see `row_numbers`.
        PAIRS: a power of two.
        IS_COMPACT: see `load_rows`.
        HAS_MEAN: see `load_rows`.
        HAS_LENGTHS: see `load_rows`.
    """
    pair = tl.program_id(0).to(tl.int64) * PAIRS + tl.arange(0, PAIRS)
    inside = pair < n_pairs
    number = tl.load(row_numbers + pair, mask=inside, other=0) if HAS_NUMBERS else pair
    length = load_lengths(lengths, number, inside, HAS_LENGTHS)
    row = rows + number * width
    centroid = centroids + tl.load(columns + pair, mask=inside, other=0) * dimension
    lane = tl.arange(0, 8)[None, :]
    sums = tl.zeros((PAIRS, 8), tl.float64)
    whole = dimension // 8 * 8
    for start in range(0, whole, 32):
        # Four loads at a time; beyond the end come zeros, which add nothing.
        for group in tl.static_range(4):
            place = start + 8 * group + lane
            here = inside[:, None] & (place < whole)
            x = load_rows(
                row[:, None],
                place,
                here,
                mean,
                length[:, None],
                per_step,
                step,
                IS_COMPACT,
                HAS_MEAN,
                HAS_LENGTHS,
            )
            c = tl.load(centroid[:, None] + place, mask=here, other=0.0).to(tl.float64)
            sums += (x - c) * (x - c)
    evens, odds = tl.split(tl.reshape(sums, (PAIRS, 4, 2)))
    total = _total_of_four(evens, PAIRS) + _total_of_four(odds, PAIRS)
    for place in range(whole, dimension):
        x = load_rows(row, place, inside, mean, length, per_step, step, IS_COMPACT, HAS_MEAN, HAS_LENGTHS)
        c = tl.load(centroid + place, mask=inside, other=0.0).to(tl.float64)
        total += (x - c) * (x - c)
    tl.store(squares_out + pair, total, mask=inside)


@triton.jit
def _total_of_four(sums, PAIRS: tl.constexpr):
    """(0 + 2) + (1 + 3) of sums 0 to 3."""
    evens, odds = tl.split(tl.reshape(sums, (PAIRS, 2, 2)))
    return tl.sum(evens, 1) + tl.sum(odds, 1)


@triton.jit
def _products(
    row,
    centroid,
    wanted,
    mean,
    length,
    dimension,
    per_step,
    step,
    PAIRS: tl.constexpr,
    PIECE: tl.constexpr,
    IS_COMPACT: tl.constexpr,
    HAS_MEAN: tl.constexpr,
    HAS_LENGTHS: tl.constexpr,
):
    """Products of rows and centroids, pointers (PAIRS,), where `wanted`, summed in float64."""
    sums = tl.zeros((PAIRS, PIECE), tl.float64)
    for start in range(0, dimension, PIECE):
        place = start + tl.arange(0, PIECE)[None, :]
        here = wanted[:, None] & (place < dimension)
        x = load_rows(
            row[:, None],
            place,
            here,
            mean,
            length[:, None],
            per_step,
            step,
            IS_COMPACT,
            HAS_MEAN,
            HAS_LENGTHS,
        )
        c = tl.load(centroid[:, None] + place, mask=here, other=0.0).to(tl.float64)
        sums += x * c
    return tl.sum(sums, 1)


@triton.jit
def pair_scores_kernel(
    rows,
    row_numbers,
    centroids,
    bias,
    columns,
    columns_before,
    scores_out,
    n_pairs,
    mean,
    lengths,
    dimension,
    width,
    per_step,
    step,
    HAS_NUMBERS: tl.constexpr,
    HAS_BEFORE: tl.constexpr,
    PAIRS: tl.constexpr,
    PIECE: tl.constexpr,
    IS_COMPACT: tl.constexpr,
    HAS_MEAN: tl.constexpr,
    HAS_LENGTHS: tl.constexpr,
):
    """Scores x.c + bias of (row, centroid) pairs, with products summed in float64.

    IN: rows, centroids, biases and pairs. OUT: `scores_out`.

    Args:
        rows: float32 or float16 (n, width).
        row_numbers: int64 (p,); if not HAS_NUMBERS pair i is of row i.
        centroids: float32 (k, d).
        bias: float32 (k,).
        columns: int64 (p,).
        columns_before: int64 (p,): pairs whose column was the same are left out; read if HAS_BEFORE.
        scores_out: float32 (p,).
        n_pairs: p.
        mean: see `load_rows`.
        lengths: see `compact.as_loaded`, as all from here to `step`.
        dimension: d.
        width: values from one row to the next.
        per_step: see `load_rows`.
        step: see `load_rows`.
        HAS_NUMBERS: see `row_numbers`.
        HAS_BEFORE: see `columns_before`.
        PAIRS: a power of two.
        PIECE: dimensions at a time, a power of two.
        IS_COMPACT: see `load_rows`.
        HAS_MEAN: see `load_rows`.
        HAS_LENGTHS: see `load_rows`.
    """
    pair = tl.program_id(0).to(tl.int64) * PAIRS + tl.arange(0, PAIRS)
    inside = pair < n_pairs
    row = tl.load(row_numbers + pair, mask=inside, other=0) if HAS_NUMBERS else pair
    column = tl.load(columns + pair, mask=inside, other=0)
    if HAS_BEFORE:
        inside = inside & (column != tl.load(columns_before + pair, mask=inside, other=0))
    length = load_lengths(lengths, row, inside, HAS_LENGTHS)
    if tl.max(inside.to(tl.int32), 0) > 0:
        products = _products(
            rows + row * width, centroids + column * dimension, inside, mean, length, dimension, per_step, step,
            PAIRS, PIECE, IS_COMPACT, HAS_MEAN, HAS_LENGTHS,
        )  # fmt: skip
        scores = products + tl.load(bias + column, mask=inside, other=0.0).to(tl.float64)
        tl.store(scores_out + pair, scores.to(tl.float32), mask=inside)


@triton.jit
def settle_kernel(
    rows,
    norms,
    residuals,
    at_least,
    centroids,
    bias,
    best,
    column,
    second,
    columns_out,
    scores_out,
    others_out,
    thresholds_out,
    n_rows,
    of_norm,
    of_residual,
    constant,
    share,
    mean,
    lengths,
    dimension,
    width,
    per_step,
    step,
    HAS_AT_LEAST: tl.constexpr,
    ROWS: tl.constexpr,
    PIECE: tl.constexpr,
    IS_COMPACT: tl.constexpr,
    HAS_MEAN: tl.constexpr,
    HAS_LENGTHS: tl.constexpr,
):
    """What the two best scores of the product in float16 settle, and what they leave open.

    A score is wrong by at most error = of_norm * |x| + of_residual * residual + constant, and those of the kernel by
    `share` of themselves in addition. The best is scored again in float64. Where the second-best could have been the
    best, and could reach that score, the row is open.

    IN: rows, the output of `best_two_kernel`, and the error bound. OUT: `columns_out`, `scores_out`, `others_out`,
    `thresholds_out`.

    Args:
        rows: float32 or float16 (n, width).
        norms: float32 (n,).
        residuals: float32 (n,).
        at_least: float32 (n,): lower scores are of no interest; read if HAS_AT_LEAST.
        centroids: float32 (k, d).
        bias: float32 (k,).
        best: float32 (n,), see `best_two_kernel`.
        column: int32 (n,), likewise.
        second: float32 (n,), likewise.
        columns_out: int64 (n,).
        scores_out: float32 (n,) of the column; -inf if no column counts or is of interest.
        others_out: float32 (n,): no other centroid's score exceeds it, and none at all where the score is -inf.
        thresholds_out: float32 (n,): the nearest centroid scores at least that in float16; inf unless open.
        n_rows: n.
        of_norm: see above.
        of_residual: see above.
        constant: see above.
        share: see above.
        mean: see `load_rows`.
        lengths: see `compact.as_loaded`, as all from here to `step`.
        dimension: d.
        width: values from one row to the next.
        per_step: see `load_rows`.
        step: see `load_rows`.
        HAS_AT_LEAST: see `at_least`.
        ROWS: a power of two.
        PIECE: dimensions at a time, a power of two.
        IS_COMPACT: see `load_rows`.
        HAS_MEAN: see `load_rows`.
        HAS_LENGTHS: see `load_rows`.
    """
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    inside = row < n_rows
    highest = tl.load(best + row, mask=inside, other=NO_SCORE)
    runner_up = tl.load(second + row, mask=inside, other=NO_SCORE)
    error = tl.load(norms + row, mask=inside, other=0.0) * of_norm + constant
    error += tl.load(residuals + row, mask=inside, other=0.0) * of_residual
    counts = highest > 0.5 * NO_SCORE
    # Where nothing counts, padding may have come first.
    number = tl.where(counts, tl.load(column + row, mask=inside, other=0), 0).to(tl.int64)
    if HAS_AT_LEAST:
        interest = tl.load(at_least + row, mask=inside, other=0.0)
        counts = counts & (highest + error + share * tl.abs(highest) >= interest)
    is_close = counts & (highest - runner_up <= 2 * (error + share * tl.abs(highest)))
    # A best that is not scored is one of the others.
    rival = tl.where(counts, runner_up, highest)
    others = tl.where(rival > 0.5 * NO_SCORE, rival + error + share * tl.abs(rival), float("-inf"))
    score = tl.full((ROWS,), float("-inf"), tl.float32)
    if tl.max(counts.to(tl.int32), 0) > 0:
        length = load_lengths(lengths, row, inside, HAS_LENGTHS)
        products = _products(
            rows + row * width, centroids + number * dimension, counts, mean, length, dimension, per_step, step,
            ROWS, PIECE, IS_COMPACT, HAS_MEAN, HAS_LENGTHS,
        )  # fmt: skip
        products += tl.load(bias + number, mask=counts, other=0.0).to(tl.float64)
        score = tl.where(counts, products.to(tl.float32), score)
    threshold = tl.where(is_close & (others >= score), score - error, float("inf"))
    tl.store(columns_out + row, number, mask=inside)
    tl.store(scores_out + row, score, mask=inside)
    tl.store(others_out + row, others, mask=inside)
    tl.store(thresholds_out + row, threshold, mask=inside)


@triton.jit
def sum_runs_kernel(
    rows,
    row_numbers,
    clusters,
    mass,
    sums,
    n_rows,
    mean,
    lengths,
    dimension,
    width,
    per_step,
    step,
    HAS_MASS: tl.constexpr,
    RUN: tl.constexpr,
    PIECE: tl.constexpr,
    IS_COMPACT: tl.constexpr,
    HAS_MEAN: tl.constexpr,
    HAS_LENGTHS: tl.constexpr,
):
    """Add rows, sorted by cluster, to the float64 sums of their clusters; one program for `RUN` rows.

    sums[cluster] += mass * row, with one addition in memory for each cluster of a program.

    IN: rows, their numbers, clusters and mass. OUT: `sums`.

    Args:
        rows: float32 or float16 (b, width).
        row_numbers: int64 (n,), by ascending cluster.
        clusters: int64 (n,), ascending.
        mass: float64 (n,): how often a row counts; read if HAS_MASS.
        sums: float64 (k, d), added to.
        n_rows: n.
        mean: see `load_rows`.
        lengths: see `compact.as_loaded`, as all from here to `step`.
        dimension: d.
        width: values from one row to the next.
        per_step: see `load_rows`.
        step: see `load_rows`.
        HAS_MASS: see `mass`.
        RUN: rows of a program.
        PIECE: dimensions of a program, a power of two.
        IS_COMPACT: see `load_rows`.
        HAS_MEAN: see `load_rows`.
        HAS_LENGTHS: see `load_rows`.
    """
    first = tl.program_id(0).to(tl.int64) * RUN
    place = tl.program_id(1) * PIECE + tl.arange(0, PIECE)
    here = place < dimension
    last = tl.minimum(first + RUN, n_rows)
    cluster = tl.load(clusters + first)
    total = tl.zeros((PIECE,), tl.float64)
    for number in range(first, last):
        of_row = tl.load(clusters + number)
        if of_row != cluster:
            tl.atomic_add(sums + cluster * dimension + place, total, mask=here, sem="relaxed")
            total = tl.zeros((PIECE,), tl.float64)
            cluster = of_row
        row = tl.load(row_numbers + number)
        length = load_lengths(lengths, row, row >= 0, HAS_LENGTHS)
        wide = load_rows(
            rows + row * width, place, here, mean, length, per_step, step, IS_COMPACT, HAS_MEAN, HAS_LENGTHS
        )
        if HAS_MASS:
            wide *= tl.load(mass + number)
        total += wide
    tl.atomic_add(sums + cluster * dimension + place, total, mask=here, sem="relaxed")
