"""Triton kernels of greedy k-means++ seeds for many fits at once; one round chooses a seed for each of them.

A round draws candidates by mass, measures their squared distances to all rows of their fit, and keeps the candidate
that leaves the smallest total. Sums that float64 rounds are added up one after the other, as the CPU adds them, so the
same random numbers draw the same rows. Fits run side by side; a sum is a chain of additions that one lane goes through.

This module imports triton, so import it inside functions.
"""

# Parameters have no types: Triton would look annotations up as names, apart from `tl.constexpr`.
# mypy: disallow-untyped-defs=False
# ruff: noqa: N803

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit(do_not_specialize=["seed_round"])
def draw_kernel(
    cumulative,
    last_mass,
    row_bounds,
    shares,
    trials,
    wanted,
    is_open,
    drawn_out,
    seed_round,
    n_steps,
    n_rounds,
    CANDIDATES: tl.constexpr,
):
    """Rows at random positions of the cumulative mass of a fit; one program for each fit.

    IN: cumulative masses and random numbers. OUT: `drawn_out`, of fits that still choose seeds.

    Args:
        cumulative: float64 (n,): of the masses of each fit.
        last_mass: int64 (g,): the last row of each fit that has mass, counted from its first.
        row_bounds: int64 (g + 1,).
        shares: float64 (g, n_rounds, CANDIDATES): random numbers from 0 to 1.
        trials: int32 (g,): candidates of each seed.
        wanted: int32 (g,): seeds of each fit.
        is_open: int32 (g,): 0 where all rows are copies of seeds.
        drawn_out: int64 (g, CANDIDATES): rows, counted from the fit's first.
        seed_round: seeds that each fit has so far.
        n_steps: halvings that find one row of any fit.
        n_rounds: see `shares`.
        CANDIDATES: a power of two, at least all of `trials`.
    """
    fit = tl.program_id(0)
    if (tl.load(is_open + fit) == 0) | (seed_round >= tl.load(wanted + fit)):
        return
    first = tl.load(row_bounds + fit)
    size = tl.load(row_bounds + fit + 1) - first
    candidate = tl.arange(0, CANDIDATES)
    counts = candidate < tl.load(trials + fit)
    number = (fit.to(tl.int64) * n_rounds + seed_round - 1) * CANDIDATES + candidate
    position = tl.load(shares + number, mask=counts, other=0.0) * tl.load(cumulative + first + size - 1)
    # The first row whose cumulative mass exceeds the position lies from `low` up to `high`.
    low = tl.zeros((CANDIDATES,), tl.int64)
    high = low + size
    for _ in range(n_steps):
        middle = (low + high) // 2
        searches = low < high
        here = tl.load(cumulative + first + middle, mask=searches, other=0.0)
        low = tl.where(searches & (here <= position), middle + 1, low)
        high = tl.where(searches & (here > position), middle, high)
    # Rounding may put a position beyond the end of the cumulative sum: it takes the last row with mass.
    drawn = tl.minimum(low, tl.load(last_mass + fit))
    tl.store(drawn_out + fit * CANDIDATES + candidate, drawn, mask=counts)


@triton.jit(do_not_specialize=["seed_round"])
def candidate_distances_kernel(
    rows,
    lengths,
    tile_groups,
    tile_rows,
    row_bounds,
    drawn,
    trials,
    wanted,
    is_open,
    distances_out,
    seed_round,
    dimension,
    SAME_POINT: tl.constexpr,
    CANDIDATES: tl.constexpr,
    ROWS: tl.constexpr,
    PIECE: tl.constexpr,
):
    """Squared distances of the candidates of a fit to its rows; one program for up to `ROWS` rows of one fit.

    |x - y|^2 = (|y|^2 - 2 x.y) + |x|^2 in float64, which is exact for rows on a grid; what cancels to a rounding error
    is set to 0.

    IN: rows, and the candidates. OUT: `distances_out`, of fits that still choose seeds.

    Args:
        rows: float32 or float16 (n, d).
        lengths: float64 (n,): squared lengths of the rows.
        tile_groups: int32 (t,): fit of each program.
        tile_rows: int64 (t,): first row of each program.
        row_bounds: int64 (g + 1,).
        drawn: int64 (g, CANDIDATES), see `draw_kernel`.
        trials: see `draw_kernel`.
        wanted: see `draw_kernel`.
        is_open: see `draw_kernel`.
        distances_out: float64 (n, CANDIDATES).
        seed_round: see `draw_kernel`.
        dimension: d.
        SAME_POINT: distances up to this share of a candidate's squared length count as 0.
        CANDIDATES: see `draw_kernel`.
        ROWS: a power of two.
        PIECE: dimensions at a time, a power of two.
    """
    fit = tl.load(tile_groups + tl.program_id(0))
    if (tl.load(is_open + fit) == 0) | (seed_round >= tl.load(wanted + fit)):
        return
    row = tl.load(tile_rows + tl.program_id(0)) + tl.arange(0, ROWS)
    inside = row < tl.load(row_bounds + fit + 1)
    candidate = tl.arange(0, CANDIDATES)
    counts = candidate < tl.load(trials + fit)
    chosen = tl.load(row_bounds + fit) + tl.load(drawn + fit * CANDIDATES + candidate, mask=counts, other=0)
    products = tl.zeros((ROWS, PIECE, CANDIDATES), tl.float64)
    for start in range(0, dimension, PIECE):
        place = start + tl.arange(0, PIECE)
        here = place < dimension
        y = tl.load(
            rows + row[:, None] * dimension + place[None, :], mask=inside[:, None] & here[None, :], other=0.0
        )
        x = tl.load(
            rows + chosen[None, :] * dimension + place[:, None],
            mask=here[:, None] & counts[None, :],
            other=0.0,
        )
        products += y.to(tl.float64)[:, :, None] * x.to(tl.float64)[None, :, :]
    of_row = tl.load(lengths + row, mask=inside, other=0.0)[:, None]
    of_candidate = tl.load(lengths + chosen, mask=counts, other=0.0)[None, :]
    squared = (of_row - 2 * tl.sum(products, 1)) + of_candidate
    # As float64: a bare number might be taken as float32.
    rounding = tl.full((1, CANDIDATES), SAME_POINT, tl.float64) * of_candidate
    squared = tl.where(squared <= rounding, 0.0, squared)
    place = row[:, None] * CANDIDATES + candidate[None, :]
    tl.store(distances_out + place, squared, mask=inside[:, None] & counts[None, :])


@triton.jit
def _nearer(to_winner, squared, row, size, chosen, runs, CANDIDATES: tl.constexpr):
    """Squared distance of a row of each fit to its nearest seed, the new one included; 0 for the seed itself."""
    here = runs & (row < size)
    to_new = tl.load(to_winner + row * CANDIDATES, mask=here, other=0.0)
    near = tl.minimum(to_new, tl.load(squared + row, mask=here, other=0.0))
    return tl.where(row == chosen, 0.0, near)


@triton.jit
def _account(near, summed, last, squared, cumulative, row, size, runs):
    """Store a squared distance and the sum up to it; gives the sum, and the last row so far above 0."""
    here = runs & (row < size)
    summed += near
    tl.store(squared + row, near, mask=here)
    tl.store(cumulative + row, summed, mask=here)
    return summed, tl.where(near > 0, row, last)


@triton.jit(do_not_specialize=["seed_round"])
def keep_kernel(
    distances,
    drawn,
    row_bounds,
    centroid_bounds,
    trials,
    wanted,
    squared,
    cumulative,
    last_mass,
    is_open,
    seeds_out,
    seed_round,
    n_fits,
    SAME_TOTAL: tl.constexpr,
    CANDIDATES: tl.constexpr,
    FITS: tl.constexpr,
):
    """Keep the candidate that leaves the smallest total of squared distances; one program for `FITS` fits.

    Totals that differ by a smaller share than `SAME_TOTAL` count as equal: the first candidate of those wins. Launch it
    without fused multiply-adds, as all sums have the order of the CPU's loops.

    IN: the candidates and their distances. OUT: the rest, of fits that still choose seeds.

    Args:
        distances: float64 (n, CANDIDATES), see `candidate_distances_kernel`.
        drawn: int64 (g, CANDIDATES), see `draw_kernel`.
        row_bounds: int64 (g + 1,).
        centroid_bounds: int64 (g + 1,): places of a fit's seeds.
        trials: see `draw_kernel`.
        wanted: see `draw_kernel`.
        squared: float64 (n,): squared distances to the nearest seed; updated.
        cumulative: float64 (n,): their cumulative sums within each fit.
        last_mass: int64 (g,): the last row of each fit with a squared distance above 0, counted from its first.
        is_open: int32 (g,): updated, 0 where the total is 0.
        seeds_out: int64 (k,): rows, counted from the fit's first.
        seed_round: seeds that each fit has so far.
        n_fits: g.
        SAME_TOTAL: see above.
        CANDIDATES: see `draw_kernel`.
        FITS: a power of two.
    """
    fit = tl.program_id(0) * FITS + tl.arange(0, FITS)
    exists = fit < n_fits
    runs = exists & (tl.load(is_open + fit, mask=exists, other=0) != 0)
    runs = runs & (seed_round < tl.load(wanted + fit, mask=exists, other=0))
    if tl.max(runs.to(tl.int32), 0) == 0:
        return
    first = tl.load(row_bounds + fit, mask=runs, other=0)
    size = tl.load(row_bounds + fit + 1, mask=runs, other=0) - first
    candidate = tl.arange(0, CANDIDATES)
    counts = runs[:, None] & (candidate[None, :] < tl.load(trials + fit, mask=runs, other=0)[:, None])
    longest = tl.max(size, 0)
    place = first[:, None] * CANDIDATES + candidate[None, :]
    even = tl.zeros((FITS, CANDIDATES), tl.float64)
    odd = tl.zeros((FITS, CANDIDATES), tl.float64)
    # Two chains of additions, of rows with even and with odd numbers, eight rows at a time: beyond the end of a fit
    # come zeros, which add nothing.
    for start in range(0, longest, 8):
        for step in tl.static_range(0, 8, 2):
            row = start + step
            here = counts & (row < size)[:, None]
            far = tl.load(squared + first + row, mask=runs & (row < size), other=0.0)[:, None]
            even += tl.minimum(tl.load(distances + place + row * CANDIDATES, mask=here, other=0.0), far)
            row = start + step + 1
            here = counts & (row < size)[:, None]
            far = tl.load(squared + first + row, mask=runs & (row < size), other=0.0)[:, None]
            odd += tl.minimum(tl.load(distances + place + row * CANDIDATES, mask=here, other=0.0), far)
    totals = tl.where(counts, even + odd, float("inf"))
    # As float64: a bare number might be taken as float32.
    most = tl.min(totals, 1) * tl.full((FITS,), 1 + SAME_TOTAL, tl.float64)
    winner = tl.min(tl.where(totals <= most[:, None], candidate[None, :], CANDIDATES), 1)
    total = tl.sum(tl.where(candidate[None, :] == winner[:, None], totals, 0.0), 1)
    chosen = tl.load(drawn + fit * CANDIDATES + winner, mask=runs, other=0)
    to_winner = distances + first * CANDIDATES + winner
    of_fit = squared + first
    sums = cumulative + first
    summed = tl.zeros((FITS,), tl.float64)
    last = tl.zeros((FITS,), tl.int64)
    for start in range(0, longest, 8):
        # Eight rows are loaded before the first is stored: a load must not wait for a store that it might depend on.
        near0 = _nearer(to_winner, of_fit, start + 0, size, chosen, runs, CANDIDATES)
        near1 = _nearer(to_winner, of_fit, start + 1, size, chosen, runs, CANDIDATES)
        near2 = _nearer(to_winner, of_fit, start + 2, size, chosen, runs, CANDIDATES)
        near3 = _nearer(to_winner, of_fit, start + 3, size, chosen, runs, CANDIDATES)
        near4 = _nearer(to_winner, of_fit, start + 4, size, chosen, runs, CANDIDATES)
        near5 = _nearer(to_winner, of_fit, start + 5, size, chosen, runs, CANDIDATES)
        near6 = _nearer(to_winner, of_fit, start + 6, size, chosen, runs, CANDIDATES)
        near7 = _nearer(to_winner, of_fit, start + 7, size, chosen, runs, CANDIDATES)
        summed, last = _account(near0, summed, last, of_fit, sums, start + 0, size, runs)
        summed, last = _account(near1, summed, last, of_fit, sums, start + 1, size, runs)
        summed, last = _account(near2, summed, last, of_fit, sums, start + 2, size, runs)
        summed, last = _account(near3, summed, last, of_fit, sums, start + 3, size, runs)
        summed, last = _account(near4, summed, last, of_fit, sums, start + 4, size, runs)
        summed, last = _account(near5, summed, last, of_fit, sums, start + 5, size, runs)
        summed, last = _account(near6, summed, last, of_fit, sums, start + 6, size, runs)
        summed, last = _account(near7, summed, last, of_fit, sums, start + 7, size, runs)
    tl.store(last_mass + fit, last, mask=runs)
    tl.store(is_open + fit, (total > 0).to(tl.int32), mask=runs)
    kept = tl.load(centroid_bounds + fit, mask=runs, other=0) + seed_round
    tl.store(seeds_out + kept, chosen, mask=runs)
