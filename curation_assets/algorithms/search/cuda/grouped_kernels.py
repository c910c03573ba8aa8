"""Triton kernels of many small searches at once: rows lie group after group, and each group has centroids of its own.

The score of a row x against a centroid c of its group is x.c - |c|^2 / 2, largest for the nearest centroid. As in
`kernels`, rows and centroids are float16, each divided by a power of two, and a bound on what that changes is known for
each row. All centroids that score within twice the bound of the best may be the nearest one: one bit marks each of
them, and where a row has several, their distances are compared in float64.

This module imports triton, so import it inside functions.
"""

# Parameters have no types: Triton would look annotations up as names, apart from `tl.constexpr`.
# mypy: disallow-untyped-defs=False
# ruff: noqa: N803

from __future__ import annotations

import triton
import triton.language as tl

from curation_assets.algorithms.search.cuda.kernels import NO_SCORE
from curation_assets.algorithms.search.cuda.row_kernels import _total_of_four


@triton.jit
def _scores(
    row_values,
    row_scales,
    centroids,
    centroid_scales,
    bias,
    first_column,
    after_last,
    n_pieces,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    PIECE: tl.constexpr,
    STAGES: tl.constexpr,
):
    """Scores of rows, pointers (ROWS,), against `COLUMNS` centroids; `NO_SCORE` from centroid `after_last` on."""
    column = first_column + tl.arange(0, COLUMNS)
    counts = column < after_last
    # Columns of no centroid take the values of the last one: they do not count.
    column = tl.minimum(column, after_last - 1)
    place = tl.arange(0, PIECE)
    left = row_values[:, None] + place[None, :]
    right = centroids + column.to(tl.int64)[None, :] * (n_pieces * PIECE) + place[:, None]
    products = tl.zeros((ROWS, COLUMNS), tl.float32)
    for piece in tl.range(0, n_pieces, num_stages=STAGES):
        products = tl.dot(tl.load(left + piece * PIECE), tl.load(right + piece * PIECE), products)
    scale = tl.load(centroid_scales + column)[None, :]
    scores = products * row_scales[:, None] * scale + tl.load(bias + column)[None, :]
    return tl.where(counts[None, :], scores, NO_SCORE)


@triton.jit
def _mark(scores, threshold, words_out, tile, inside, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Store a bit for each score that reaches its row's threshold; gives how many do, and the sum of their columns."""
    words: tl.constexpr = COLUMNS // 32
    reaches = scores >= threshold[:, None]
    column = tl.arange(0, COLUMNS)
    bit = tl.full((COLUMNS,), 1, tl.int32) << (column % 32)
    # The bits differ, so their sum equals their `or`.
    packed = tl.sum(tl.reshape(tl.where(reaches, bit[None, :], 0), (ROWS, words, 32)), 2)
    place = words_out[:, None] + tile * words + tl.arange(0, words)[None, :]
    tl.store(place, packed, mask=inside[:, None])
    reached = reaches.to(tl.int32)
    return tl.sum(reached, 1), tl.sum(reached * (tile * COLUMNS + column)[None, :], 1)


@triton.jit
def near_kernel(
    values,
    scales,
    norms,
    residuals,
    centroids,
    centroid_scales,
    bias,
    tile_groups,
    tile_rows,
    row_bounds,
    centroid_bounds,
    runs,
    of_norm,
    of_residual,
    constant,
    columns_out,
    counts_out,
    words_out,
    n_pieces,
    n_words,
    IS_ONE_TILE: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    PIECE: tl.constexpr,
    STAGES: tl.constexpr,
):
    """Which centroids of its group may be the nearest of each row; one program for up to `ROWS` rows of one group.

    A score is wrong by at most error = of_norm * |x| + of_residual * residual + constant, so the nearest centroid
    scores at least the highest score - 2 error.

    IN: float16 rows and centroids, the groups, and their error bounds. OUT: `columns_out`, `counts_out`, `words_out`,
    of rows whose group runs.

    Args:
        values: float16 (n, d), d = n_pieces * PIECE.
        scales: float32 (n,): powers of two that `values` are to be multiplied by.
        norms: float32 (n,): lengths of the rows.
        residuals: float32 (n,): lengths of what rounding took away.
        centroids: float16 (k, d).
        centroid_scales: float32 (k,): as `scales`.
        bias: float32 (k,): -|c|^2 / 2.
        tile_groups: int32 (t,): group of each program.
        tile_rows: int64 (t,): first row of each program.
        row_bounds: int64 (g + 1,): group i has the rows from row_bounds[i] up to row_bounds[i + 1].
        centroid_bounds: int64 (g + 1,): likewise its centroids, at least one.
        runs: int32 (g,): 0 leaves a group out.
        of_norm: float32 (g,), see above.
        of_residual: float32 (g,), see above.
        constant: float32 (g,), see above.
        columns_out: int64 (n,): the only such centroid, counted from its group's first; of use where there is one.
        counts_out: int32 (n,): how many there are.
        words_out: int32 (n, n_words): column c of a group is bit c % 32 of word c // 32.
        n_pieces: see `values`.
        n_words: enough for the columns of every group, rounded up to whole tiles.
        IS_ONE_TILE: no group has more than `COLUMNS` centroids.
        ROWS: a power of two, at least 16.
        COLUMNS: scored at a time, a power of two, at least 32.
        PIECE: dimensions multiplied at a time.
        STAGES: pieces loaded ahead.
    """
    group = tl.load(tile_groups + tl.program_id(0))
    if tl.load(runs + group) == 0:
        return
    after_last = tl.load(row_bounds + group + 1)
    row = tl.load(tile_rows + tl.program_id(0)) + tl.arange(0, ROWS)
    inside = row < after_last
    # Rows beyond the group take the values of its last one; nothing is stored of them.
    row = tl.minimum(row, after_last - 1)
    first = tl.load(centroid_bounds + group)
    last = tl.load(centroid_bounds + group + 1)
    row_values = values + row * (n_pieces * PIECE)
    scale = tl.load(scales + row)
    error = tl.load(norms + row) * tl.load(of_norm + group) + tl.load(constant + group)
    error += tl.load(residuals + row) * tl.load(of_residual + group)
    words = words_out + row * n_words
    if IS_ONE_TILE:
        scores = _scores(
            row_values, scale, centroids, centroid_scales, bias, first, last, n_pieces, ROWS, COLUMNS, PIECE, STAGES
        )  # fmt: skip
        count, column = _mark(scores, tl.max(scores, 1) - 2 * error, words, 0, inside, ROWS, COLUMNS)
    else:
        n_tiles = ((last - first + COLUMNS - 1) // COLUMNS).to(tl.int32)
        best = tl.full((ROWS,), float("-inf"), tl.float32)
        for tile in range(n_tiles):
            scores = _scores(
                row_values, scale, centroids, centroid_scales, bias, first + tile * COLUMNS, last, n_pieces,
                ROWS, COLUMNS, PIECE, STAGES,
            )  # fmt: skip
            best = tl.maximum(best, tl.max(scores, 1))
        count = tl.zeros((ROWS,), tl.int32)
        column = tl.zeros((ROWS,), tl.int32)
        # The same products again, which gives the same scores: to keep them would take k values a row.
        for tile in range(n_tiles):
            scores = _scores(
                row_values, scale, centroids, centroid_scales, bias, first + tile * COLUMNS, last, n_pieces,
                ROWS, COLUMNS, PIECE, STAGES,
            )  # fmt: skip
            count_here, column_here = _mark(scores, best - 2 * error, words, tile, inside, ROWS, COLUMNS)
            count += count_here
            column += column_here
    tl.store(columns_out + row, column.to(tl.int64), mask=inside)
    tl.store(counts_out + row, count, mask=inside)


@triton.jit
def _squares(row, centroid, inside, dimension, ROWS: tl.constexpr):
    """Squared distances |x - c|^2 of pointers (ROWS,), with the bits of `row_kernels.pair_squares_kernel`."""
    lane = tl.arange(0, 8)[None, :]
    sums = tl.zeros((ROWS, 8), tl.float64)
    whole = dimension // 8 * 8
    for start in range(0, whole, 32):
        # Four loads at a time; beyond the end come zeros, which add nothing.
        for step in tl.static_range(4):
            place = start + 8 * step + lane
            here = inside[:, None] & (place < whole)
            x = tl.load(row[:, None] + place, mask=here, other=0.0).to(tl.float64)
            c = tl.load(centroid[:, None] + place, mask=here, other=0.0).to(tl.float64)
            sums += (x - c) * (x - c)
    evens, odds = tl.split(tl.reshape(sums, (ROWS, 4, 2)))
    total = _total_of_four(evens, ROWS) + _total_of_four(odds, ROWS)
    for place in range(whole, dimension):
        x = tl.load(row + place, mask=inside, other=0.0).to(tl.float64)
        c = tl.load(centroid + place, mask=inside, other=0.0).to(tl.float64)
        total += (x - c) * (x - c)
    return total


@triton.jit
def decide_kernel(
    rows,
    centroids,
    row_groups,
    centroid_bounds,
    runs,
    counts,
    words,
    columns,
    n_rows,
    dimension,
    n_words,
    ROWS: tl.constexpr,
):
    """The nearest centroid of rows for which several may be; the lowest of equally near ones.

    Launch it without fused multiply-adds: distances have the bits of the CPU's.

    IN: rows, centroids and the output of `near_kernel`. OUT: `columns`, changed where the count is more than 1.

    Args:
        rows: float32 or float16 (n, d).
        centroids: float32 (k, d).
        row_groups: int32 (n,).
        centroid_bounds: int64 (g + 1,).
        runs: int32 (g,): 0 leaves a group out.
        counts: int32 (n,).
        words: int32 (n, n_words).
        columns: int64 (n,), counted from the group's first centroid.
        n_rows: n.
        dimension: d.
        n_words: see `near_kernel`.
        ROWS: a power of two.
    """
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    inside = row < n_rows
    group = tl.load(row_groups + row, mask=inside, other=0)
    runs_here = inside & (tl.load(runs + group, mask=inside, other=0) != 0)
    is_open = runs_here & (tl.load(counts + row, mask=runs_here, other=0) > 1)
    if tl.max(is_open.to(tl.int32), 0) == 0:
        return
    first = tl.load(centroid_bounds + group, mask=is_open, other=0)
    n_columns = tl.load(centroid_bounds + group + 1, mask=is_open, other=0) - first
    value = rows + row * dimension
    smallest = tl.full((ROWS,), float("inf"), tl.float64)
    nearest = tl.zeros((ROWS,), tl.int64)
    for word in range(((tl.max(n_columns, 0) + 31) // 32).to(tl.int32)):
        here = is_open & (word * 32 < n_columns)
        # As positive numbers: the sign bit is column 31.
        bits = tl.load(words + row * n_words + word, mask=here, other=0).to(tl.int64) & 0xFFFFFFFF
        while tl.max(bits, 0) > 0:
            waits = bits > 0
            lowest = bits & -bits
            # A power of two as float32 has its logarithm in the exponent.
            exponent = (lowest.to(tl.float32).to(tl.int32, bitcast=True) >> 23) - 127
            column = word * 32 + tl.where(waits, exponent, 0).to(tl.int64)
            centroid = centroids + (first + column) * dimension
            squared = _squares(value, centroid, waits, dimension, ROWS)
            # Columns come in order: an equally near one that comes later has the higher number.
            wins = waits & (squared < smallest)
            smallest = tl.where(wins, squared, smallest)
            nearest = tl.where(wins, column, nearest)
            bits = bits - lowest
    tl.store(columns + row, nearest, mask=is_open)
