"""Loops that are compiled: over pairs of a row and a centroid, and over scores while they are in the cache.

Sums in float32 are in no particular order, so that a processor's vectors can be used: callers allow for the rounding
error of any order. Sums in float64 have a fixed order, and their bits do not depend on the machine. Compiled code is
kept beside the source or, where that cannot be written, in the user's cache.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numba
import numpy as np

Loop = TypeVar("Loop", bound=Callable[..., object])
CHUNK = 16
"""Columns of bounds come in multiples of it."""
_MULTIPLY_ADD = {"reassoc", "contract"}


def compiled(*, fastmath: set[str] | bool = False) -> Callable[[Loop], Loop]:
    """Compile a loop, which then lets other threads run beside it.

    Args:
        fastmath: what the compiler may do to floating-point operations, see numba.
    """

    def decorate(loop: Loop) -> Loop:
        fast: Loop
        try:
            fast = numba.njit(nogil=True, cache=True, fastmath=fastmath)(loop)
        except RuntimeError:
            # There is no place to keep what was compiled: every process compiles for itself.
            fast = numba.njit(nogil=True, fastmath=fastmath)(loop)
        return fast

    return decorate


@compiled(fastmath=_MULTIPLY_ADD)
def _product(row: np.ndarray, centroid: np.ndarray) -> np.float32:
    total = np.float32(0)
    for j in range(len(row)):
        total += row[j] * centroid[j]
    return total


@compiled()
def score_pairs(
    start: int,
    stop: int,
    block: np.ndarray,
    rows: np.ndarray,
    centroids: np.ndarray,
    bias: np.ndarray,
    clusters: np.ndarray,
    result: np.ndarray,
) -> None:
    """`pair_scores` for pairs `start` to `stop` - 1."""
    for p in range(start, stop):
        c = clusters[p]
        result[p] = _product(block[rows[p]], centroids[c]) + bias[c]


@compiled()
def square_pairs(
    start: int,
    stop: int,
    block: np.ndarray,
    rows: np.ndarray,
    centroids: np.ndarray,
    clusters: np.ndarray,
    result: np.ndarray,
) -> None:
    """`pair_squared_distances` for pairs `start` to `stop` - 1: eight sums side by side, then those of them."""
    dimension = block.shape[1]
    whole = dimension - dimension % 8
    squares = np.empty(dimension)
    for p in range(start, stop):
        row, centroid = block[rows[p]], centroids[clusters[p]]
        # Apart from the sums, of which the compiler would make no vector operations together with the conversion.
        for j in range(dimension):
            difference = np.float64(row[j]) - np.float64(centroid[j])
            squares[j] = difference * difference
        s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = 0.0
        for j in range(0, whole, 8):
            s0 += squares[j]
            s1 += squares[j + 1]
            s2 += squares[j + 2]
            s3 += squares[j + 3]
            s4 += squares[j + 4]
            s5 += squares[j + 5]
            s6 += squares[j + 6]
            s7 += squares[j + 7]
        total = ((s0 + s4) + (s2 + s6)) + ((s1 + s5) + (s3 + s7))
        for j in range(whole, dimension):
            total += squares[j]
        result[p] = total


@compiled()
def add_rows(
    start: int,
    stop: int,
    block: np.ndarray,
    rows: np.ndarray,
    clusters: np.ndarray,
    mass: np.ndarray,
    sums: np.ndarray,
) -> None:
    """`row_sums.add_rows`, columns `start` to `stop` - 1."""
    for p in range(len(rows)):
        i, c, weight = rows[p], clusters[p], mass[p]
        for j in range(start, stop):
            sums[c, j] += weight * np.float64(block[i, j])


@compiled()
def find_moved(start: int, stop: int, before: np.ndarray, after: np.ndarray, is_moved: np.ndarray) -> None:
    """Which of the rows `start` to `stop` - 1 of two matrices are not the same."""
    for c in range(start, stop):
        left, right = before[c], after[c]
        n_different = 0
        # To the end of each row: so the compiler makes vector operations of it.
        for j in range(len(left)):
            n_different += left[j] != right[j]
        is_moved[c] = n_different > 0


@compiled(fastmath={"nnan", "nsz"})
def _largest(chunk: np.ndarray) -> np.float32:
    # With a fixed number of turns the compiler makes a few vector operations of it.
    largest = chunk[0]
    for j in range(1, CHUNK):
        largest = chunk[j] if chunk[j] > largest else largest
    return largest


@compiled(fastmath=_MULTIPLY_ADD)
def _eight_products(
    block: np.ndarray, rows: np.ndarray, left: np.ndarray, right: np.ndarray, products: np.ndarray
) -> None:
    """Products of four rows with each of two centroids, float32 (2, 4): as many as keep a processor busy."""
    row0, row1, row2, row3 = block[rows[0]], block[rows[1]], block[rows[2]], block[rows[3]]
    left0 = left1 = left2 = left3 = right0 = right1 = right2 = right3 = np.float32(0)
    for j in range(len(left)):
        value0, value1, value2, value3 = row0[j], row1[j], row2[j], row3[j]
        left0 += value0 * left[j]
        left1 += value1 * left[j]
        left2 += value2 * left[j]
        left3 += value3 * left[j]
        right0 += value0 * right[j]
        right1 += value1 * right[j]
        right2 += value2 * right[j]
        right3 += value3 * right[j]
    products[0, 0], products[0, 1], products[0, 2], products[0, 3] = left0, left1, left2, left3
    products[1, 0], products[1, 1], products[1, 2], products[1, 3] = right0, right1, right2, right3


@compiled()
def _chunk_maxima(row: np.ndarray, maxima: np.ndarray) -> None:
    for chunk in range(len(maxima)):
        maxima[chunk] = _largest(row[chunk * CHUNK : chunk * CHUNK + CHUNK])


@compiled()
def _leader(row: np.ndarray, maxima: np.ndarray) -> int:
    """Position of the largest value of a row, given the largest of each chunk."""
    best = 0
    for chunk in range(1, len(maxima)):
        if maxima[chunk] > maxima[best]:
            best = chunk
    for j in range(best * CHUNK, best * CHUNK + CHUNK):
        if row[j] == maxima[best]:
            return j
    return 0


@compiled()
def _mark_open(bounds: np.ndarray, places: np.ndarray, limit: np.ndarray, is_open: np.ndarray) -> None:
    """Mark the columns whose bound for any of four rows reaches the row's limit."""
    row0, row1, row2, row3 = bounds[places[0]], bounds[places[1]], bounds[places[2]], bounds[places[3]]
    limit0, limit1, limit2, limit3 = limit
    for j in range(len(is_open)):
        # Without branches, so that the compiler makes vector operations of it.
        is_open[j] = (row0[j] >= limit0) | (row1[j] >= limit1) | (row2[j] >= limit2) | (row3[j] >= limit3)


@compiled()
def _marked(is_marked: np.ndarray, columns: np.ndarray) -> int:
    """List what is marked; returns how many there are."""
    n_marked = 0
    for j in range(len(is_marked)):
        columns[n_marked] = j
        n_marked += is_marked[j]
    return n_marked


@compiled()
def _raised(value: np.float32, share: np.float32) -> np.float32:
    """A value and a share of its size more, or less where that is negative; infinite values stay."""
    return value * (np.float32(1) + share) if value > 0 else value * (np.float32(1) - share)


@compiled()
def search_rows(
    is_alone: bool,
    most_open: float,
    roundoff: np.float32,
    block: np.ndarray,
    order: np.ndarray,
    bounds: np.ndarray,
    centroids: np.ndarray,
    bias: np.ndarray,
    at_least: np.ndarray,
    error: np.ndarray,
    slack: np.ndarray,
    own: np.ndarray,
    left_out: np.ndarray,
    column: np.ndarray,
    best: np.ndarray,
    others: np.ndarray,
) -> None:
    """`search_bounded`; of four rows no more than the share `most_open` of the centroids may be open."""
    n_rows, n_columns, none = len(order), bounds.shape[1], np.float32(-np.inf)
    rows, places = np.empty(4, dtype=np.int64), np.empty(4, dtype=np.int64)
    found, leaders = np.empty(4, dtype=np.int64), np.empty(4, dtype=np.int64)
    top, second = np.empty(4, np.float32), np.empty(4, np.float32)
    limit, products = np.empty(4, np.float32), np.empty((2, 4), np.float32)
    is_open, columns = np.empty(n_columns, dtype=np.bool_), np.empty(n_columns + 1, dtype=np.int64)
    pair, maxima = np.empty(2, dtype=np.int64), np.empty(n_columns // CHUNK, np.float32)
    for first_row in range(0, n_rows, 4):
        for r in range(4):
            # Four rows at a time; the last one again, and again with the same result, where they run out.
            q = places[r] = min(first_row + r, n_rows - 1)
            i = order[q]
            rows[r], found[r], leaders[r] = i, 0, -1
            if left_out[i] >= 0:
                bounds[q, left_out[i]] = none
            top[r] = second[r] = none
            if is_alone:
                # The largest bound is a good guess, and what it scores rules out most.
                _chunk_maxima(bounds[q], maxima)
                leader = _leader(bounds[q], maxima)
                top[r] = _product(block[i], centroids[leader]) + bias[leader]
                found[r] = leaders[r] = leader
            limit[r] = _raised(max(at_least[i], top[r] - slack[i]) - error[i], -roundoff)
        _mark_open(bounds, places, limit, is_open)
        n_open = _marked(is_open, columns)
        if n_open > most_open * n_columns:
            for r in range(4):
                column[rows[r]] = -1
            continue
        at = 0
        while at < n_open:
            n_taken = 0
            while at < n_open and n_taken < 2:
                j, at = columns[at], at + 1
                # What has been scored since may rule it out.
                if (
                    bounds[places[0], j] >= limit[0]
                    or bounds[places[1], j] >= limit[1]
                    or bounds[places[2], j] >= limit[2]
                    or bounds[places[3], j] >= limit[3]
                ):
                    pair[n_taken], n_taken = j, n_taken + 1
            if n_taken == 0:
                break
            _eight_products(block, rows, centroids[pair[0]], centroids[pair[n_taken - 1]], products)
            for c in range(n_taken):
                j = pair[c]
                for r in range(4):
                    i = rows[r]
                    bounds[places[r], j] = none
                    if j in (leaders[r], left_out[i]):
                        continue
                    score = products[c, r] + bias[j]
                    if score > top[r]:
                        second[r], top[r], found[r] = top[r], score, j
                    elif score > second[r]:
                        second[r] = score
                    else:
                        continue
                    if is_alone:
                        limit[r] = _raised(max(at_least[i], top[r] - slack[i]) - error[i], -roundoff)
                    else:
                        # Of the best two, its own included, the second is to be known: what is no better need not.
                        limit[r] = _raised(
                            max(at_least[i], second[r], min(top[r], own[i])) - error[i], -roundoff
                        )
        for r in range(4):
            i = rows[r]
            # Those that have been scored are out.
            if is_alone:
                bounds[places[r], leaders[r]] = none
            _chunk_maxima(bounds[places[r]], maxima)
            rest = _raised(maxima.max(), roundoff) + error[i]
            column[i], best[i], others[i] = found[r], top[r], max(second[r], rest)


@compiled()
def top_two_rows(
    scores: np.ndarray, at_least: np.ndarray, best: np.ndarray, column: np.ndarray, second: np.ndarray
) -> None:
    """Best and second-best of each row of scores, see `search_all`."""
    n_columns = scores.shape[1]
    whole = n_columns // CHUNK
    maxima = np.empty(whole, np.float32)
    none = np.float32(-np.inf)
    for i in range(len(scores)):
        row = scores[i]
        _chunk_maxima(row, maxima)
        largest, where = none, -1
        for chunk in range(whole):
            if maxima[chunk] > largest:
                largest, where = maxima[chunk], chunk
        for j in range(whole * CHUNK, n_columns):
            if row[j] > largest:
                largest, where = row[j], whole
        best[i], column[i], second[i] = largest, 0, largest
        if largest < at_least[i]:
            continue
        runner_up, found = none, -1
        first, last = (where * CHUNK, where * CHUNK + CHUNK) if where < whole else (whole * CHUNK, n_columns)
        for chunk in range(whole):
            if chunk != where:
                runner_up = max(runner_up, maxima[chunk])
        if where < whole:
            for j in range(whole * CHUNK, n_columns):
                runner_up = max(runner_up, row[j])
        for j in range(first, last):
            if found < 0 and row[j] == largest:
                found = j
            else:
                runner_up = max(runner_up, row[j])
        column[i], second[i] = found, runner_up
