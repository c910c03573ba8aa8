"""Triton kernels of the exact search: all scores are computed, but only the two best of each row leave the chip.

The score of a row x against a centroid c is x.c - |c|^2 / 2, largest for the nearest centroid:

    score = scale * (row . centroid) + bias

where row and centroid are float16, each divided by a power of two that `scale` undoes. The bias stays in float32:
rounded to 16 bits it would hide the differences between the centroids of a tight cluster.

This module imports triton, so import it inside functions.
"""

# Parameters have no types: Triton would look annotations up as names, apart from `tl.constexpr`.
# mypy: disallow-untyped-defs=False
# ruff: noqa: N803

from __future__ import annotations

import triton
import triton.language as tl

# Below all scores of rows and centroids shorter than 1e18, and finite, because its bits may carry a column.
NO_SCORE = tl.constexpr(-3e38)


@triton.jit
def _merge_two_best(best_a, second_a, best_b, second_b):
    best = tl.maximum(best_a, best_b)
    return best, tl.maximum(tl.minimum(best_a, best_b), tl.maximum(second_a, second_b))


@triton.jit
def _two_best(scores, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Best and second-best key of each row: a score whose last bits are replaced by the number of its column."""
    # Maxima of keys take half the instructions of maxima with a column beside them.
    column = tl.arange(0, COLUMNS)[None, :]
    keys = ((scores.to(tl.int32, bitcast=True) & -COLUMNS) | column).to(tl.float32, bitcast=True)
    # Neighbours belong to one thread: sort pairs of them before anything is merged.
    left, right = tl.split(tl.reshape(keys, (ROWS, COLUMNS // 2, 2)))
    return tl.reduce((tl.maximum(left, right), tl.minimum(left, right)), 1, _merge_two_best)


@triton.jit
def best_two_kernel(
    rows,
    scales,
    centroids,
    bias,
    left_out,
    best_out,
    column_out,
    second_out,
    maxima_out,
    n_rows,
    n_tiles,
    n_pieces,
    centroid_scale,
    HAS_LEFT_OUT: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    PIECE: tl.constexpr,
    STAGES: tl.constexpr,
):
    """Best score of each row, its column, and the second-best score; one program for `ROWS` rows.

    IN: float16 rows and centroids, their scales and biases. OUT: `best_out`, `column_out`, `second_out`, `maxima_out`;
    scores are scale * (row . centroid) + bias within `ScoreError`.

    Args:
        rows: descriptor of float16 (n, d), d = n_pieces * PIECE.
        scales: float32 (n,).
        centroids: descriptor of float16 (q, d), q = n_tiles * COLUMNS.
        bias: float32 (q,), `NO_SCORE` for padding.
        left_out: int32 (n,): a column that does not count, or -1; read if HAS_LEFT_OUT.
        best_out: float32 (n,): wrong by at most COLUMNS * 2^-23 of itself, as its last bits name the column.
        column_out: int32 (n,).
        second_out: float32 (n,): likewise; about `NO_SCORE` if there is no other column.
        maxima_out: float32 (n_tiles, n): likewise, the best score in each tile.
        n_rows: n.
        n_tiles: see `centroids`.
        n_pieces: see `rows`.
        centroid_scale: a power of two.
        HAS_LEFT_OUT: see `left_out`.
        ROWS: a power of two.
        COLUMNS: scored at a time, a power of two.
        PIECE: dimensions multiplied at a time.
        STAGES: pieces loaded ahead.
    """
    first = tl.program_id(0) * ROWS
    row = first + tl.arange(0, ROWS)
    inside = row < n_rows
    scale = tl.load(scales + row, mask=inside, other=0.0) * centroid_scale
    if HAS_LEFT_OUT:
        skipped = tl.load(left_out + row, mask=inside, other=-1)
    best = tl.full((ROWS,), float("-inf"), tl.float32)
    second = tl.full((ROWS,), float("-inf"), tl.float32)
    tile_of_best = tl.zeros((ROWS,), tl.int32)
    maximum = maxima_out + row
    # One loop over all pieces of all tiles, so that the next tile is loaded while this one is reduced.
    for tile in tl.range(0, n_tiles, flatten=True):
        products = tl.zeros((ROWS, COLUMNS), tl.float32)
        for piece in tl.range(0, n_pieces, num_stages=STAGES):
            left = rows.load([first, piece * PIECE])
            right = centroids.load([tile * COLUMNS, piece * PIECE])
            products = tl.dot(left, right.T, products)
        column = tile * COLUMNS + tl.arange(0, COLUMNS)
        scores = products * scale[:, None] + tl.load(bias + column)[None, :]
        if HAS_LEFT_OUT:
            scores = tl.where(column[None, :] == skipped[:, None], NO_SCORE, scores)
        best_here, second_here = _two_best(scores, ROWS, COLUMNS)
        tl.store(maximum, best_here, mask=inside)
        maximum += n_rows
        tile_of_best = tl.where(best_here > best, tile, tile_of_best)
        best, second = _merge_two_best(best, second, best_here, second_here)
    inside_tile = best.to(tl.int32, bitcast=True) & (COLUMNS - 1)
    tl.store(best_out + row, best, mask=inside)
    tl.store(column_out + row, tile_of_best * COLUMNS + inside_tile, mask=inside)
    tl.store(second_out + row, second, mask=inside)


@triton.jit
def reach_kernel(
    rows,
    scales,
    centroids,
    bias,
    left_out,
    thresholds,
    row_numbers,
    tiles,
    words_out,
    n_pairs,
    n_pieces,
    centroid_scale,
    HAS_LEFT_OUT: tl.constexpr,
    PAIRS: tl.constexpr,
    COLUMNS: tl.constexpr,
    PIECE: tl.constexpr,
    STAGES: tl.constexpr,
):
    """Which columns of a tile score at least a row's threshold; one program for `PAIRS` pairs of row and tile.

    IN: as `best_two_kernel`, thresholds, and the pairs. OUT: `words_out`, one bit for each column.

    Args:
        rows: float16 (n, d), d = n_pieces * PIECE.
        scales: float32 (n,).
        centroids: descriptor of float16 (q, d).
        bias: float32 (q,).
        left_out: int32 (n,): a column that does not count, or -1; read if HAS_LEFT_OUT.
        thresholds: float32 (n,), more than `NO_SCORE`.
        row_numbers: int64 (p,).
        tiles: int64 (p,), ascending.
        words_out: int32 (p, COLUMNS / 32): column c of a tile is bit c % 32 of word c // 32.
        n_pairs: p.
        n_pieces: see `rows`.
        centroid_scale: see `best_two_kernel`.
        HAS_LEFT_OUT: see `left_out`.
        PAIRS: a power of two.
        COLUMNS: of a tile, a power of two, at least 32.
        PIECE: see `best_two_kernel`.
        STAGES: see `best_two_kernel`.
    """
    first = tl.program_id(0).to(tl.int64) * PAIRS
    pair = first + tl.arange(0, PAIRS)
    inside = pair < n_pairs
    row = tl.load(row_numbers + pair, mask=inside, other=0)
    tile_of_pair = tl.load(tiles + pair, mask=inside, other=-1)
    value = rows + row[:, None] * (n_pieces * PIECE) + tl.arange(0, PIECE)[None, :]
    scale = tl.load(scales + row) * centroid_scale
    threshold = tl.load(thresholds + row)
    if HAS_LEFT_OUT:
        skipped = tl.load(left_out + row)
    words: tl.constexpr = COLUMNS // 32
    bit = tl.full((COLUMNS,), 1, tl.int32) << (tl.arange(0, COLUMNS) % 32)
    place = pair[:, None] * words + tl.arange(0, words)[None, :]
    # Most programs have a single tile; the others score their rows with each of their tiles.
    lowest = tl.load(tiles + first).to(tl.int32)
    highest = tl.load(tiles + tl.minimum(first + PAIRS, n_pairs) - 1).to(tl.int32)
    for tile in range(lowest, highest + 1):
        products = tl.zeros((PAIRS, COLUMNS), tl.float32)
        for piece in tl.range(0, n_pieces, num_stages=STAGES):
            left = tl.load(value + piece * PIECE)
            right = centroids.load([tile * COLUMNS, piece * PIECE])
            products = tl.dot(left, right.T, products)
        column = tile * COLUMNS + tl.arange(0, COLUMNS)
        reaches = products * scale[:, None] + tl.load(bias + column)[None, :] >= threshold[:, None]
        if HAS_LEFT_OUT:
            reaches = reaches & (column[None, :] != skipped[:, None])
        # The bits differ, so their sum equals their `or`.
        packed = tl.sum(tl.reshape(tl.where(reaches, bit[None, :], 0), (PAIRS, words, 32)), 2)
        tl.store(words_out + place, packed, mask=(tile_of_pair == tile)[:, None])
