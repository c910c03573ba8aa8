"""How Triton kernels load values of rows: as they are, or prepared from rows that are held as they are stored.

This module imports triton, so import it inside functions.
"""

# Parameters have no types: Triton would look annotations up as names, apart from `tl.constexpr`.
# mypy: disallow-untyped-defs=False
# ruff: noqa: N803

from __future__ import annotations

import triton
import triton.language as tl

# Float32 numbers from 2^23 on are whole: adding that and taking it away rounds smaller ones to the nearest whole
# number, ties to even.
_WHOLE = tl.constexpr(2.0**23)


@triton.jit
def load_rows(
    row,
    place,
    here,
    mean,
    length,
    per_step,
    step,
    IS_COMPACT: tl.constexpr,
    HAS_MEAN: tl.constexpr,
    HAS_LENGTHS: tl.constexpr,
):
    """Values of rows in float64, with the bits of `Preprocessing.apply` if they are prepared here.

    Args:
        row: pointers to the first values of rows, float32 or float16.
        place: dimensions, of a shape that broadcasts with `row`.
        here: which values to load; the others are 0.
        mean: float32 (d,): of `Preparation`; read if HAS_MEAN.
        length: float64 of the rows, broadcasts with `row`; used if HAS_LENGTHS.
        per_step: 1 / step.
        step: of the grid, a power of two.
        IS_COMPACT: rows are float16 as they are stored; otherwise nothing is prepared.
        HAS_MEAN: see `mean`.
        HAS_LENGTHS: see `length`.
    """
    x = tl.load(row + place, mask=here, other=0.0)
    if IS_COMPACT:
        value = x.to(tl.float32)
        if HAS_MEAN:
            # What is not loaded stays 0.
            value = tl.where(here, value - tl.load(mean + tl.where(here, place, 0)), 0.0)
        if HAS_LENGTHS:
            value = (value.to(tl.float64) / length).to(tl.float32)
        # Products with powers of two are exact, whatever they are fused with.
        steps = value * per_step
        size = tl.abs(steps)
        whole = tl.where(size < _WHOLE, (size + _WHOLE) - _WHOLE, size)
        # The sign comes back, also of what is rounded to zero, as in numpy.
        sign = steps.to(tl.int32, bitcast=True) & -2147483648
        x = (whole.to(tl.int32, bitcast=True) | sign).to(tl.float32, bitcast=True) * step
    return x.to(tl.float64)


@triton.jit
def load_lengths(lengths, number, inside, HAS_LENGTHS: tl.constexpr):
    """Lengths of rows by number, float64; 1 where there are none."""
    length = tl.full(number.shape, 1.0, tl.float64)
    if HAS_LENGTHS:
        length = tl.load(lengths + number, mask=inside, other=1.0)
    return length


@triton.jit
def prepared_rows_kernel(
    rows,
    row_numbers,
    mean,
    lengths,
    dimension,
    width,
    per_step,
    step,
    out,
    n_rows,
    HAS_NUMBERS: tl.constexpr,
    HAS_MEAN: tl.constexpr,
    HAS_LENGTHS: tl.constexpr,
    ROWS: tl.constexpr,
    PIECE: tl.constexpr,
):
    """Prepared rows from rows as they are stored.

    IN: rows, their numbers and preparation. OUT: `out`.

    Args:
        rows: float16 (n, width).
        row_numbers: int64 (m,); if not HAS_NUMBERS row i is the i-th.
        mean: see `load_rows`.
        lengths: float64 (n,).
        dimension: d.
        width: values from one row to the next.
        per_step: see `load_rows`.
        step: see `load_rows`.
        out: float32 (m, d).
        n_rows: m.
        HAS_NUMBERS: see `row_numbers`.
        HAS_MEAN: see `load_rows`.
        HAS_LENGTHS: see `load_rows`.
        ROWS: a power of two.
        PIECE: dimensions at a time, a power of two.
    """
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    inside = row < n_rows
    number = tl.load(row_numbers + row, mask=inside, other=0) if HAS_NUMBERS else row
    length = load_lengths(lengths, number, inside, HAS_LENGTHS)
    for start in range(0, dimension, PIECE):
        place = start + tl.arange(0, PIECE)[None, :]
        here = inside[:, None] & (place < dimension)
        value = load_rows(
            (rows + number * width)[:, None], place, here, mean, length[:, None], per_step, step, True,
            HAS_MEAN, HAS_LENGTHS,
        )  # fmt: skip
        tl.store((out + row * dimension)[:, None] + place, value.to(tl.float32), mask=here)
