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


def _loop(*, fastmath: set[str] | bool = False) -> Callable[[Loop], Loop]:
    def decorate(loop: Loop) -> Loop:
        compiled: Loop
        try:
            compiled = numba.njit(nogil=True, cache=True, fastmath=fastmath)(loop)
        except RuntimeError:
            # There is no place to keep what was compiled: every process compiles for itself.
            compiled = numba.njit(nogil=True, fastmath=fastmath)(loop)
        return compiled

    return decorate


@_loop(fastmath=_MULTIPLY_ADD)
def _product(row: np.ndarray, centroid: np.ndarray) -> np.float32:
    total = np.float32(0)
    for j in range(len(row)):
        total += row[j] * centroid[j]
    return total


@_loop()
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


@_loop()
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
    for p in range(start, stop):
        i, c = rows[p], clusters[p]
        s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = 0.0
        for j in range(0, whole, 8):
            d0 = np.float64(block[i, j]) - np.float64(centroids[c, j])
            d1 = np.float64(block[i, j + 1]) - np.float64(centroids[c, j + 1])
            d2 = np.float64(block[i, j + 2]) - np.float64(centroids[c, j + 2])
            d3 = np.float64(block[i, j + 3]) - np.float64(centroids[c, j + 3])
            d4 = np.float64(block[i, j + 4]) - np.float64(centroids[c, j + 4])
            d5 = np.float64(block[i, j + 5]) - np.float64(centroids[c, j + 5])
            d6 = np.float64(block[i, j + 6]) - np.float64(centroids[c, j + 6])
            d7 = np.float64(block[i, j + 7]) - np.float64(centroids[c, j + 7])
            s0 += d0 * d0
            s1 += d1 * d1
            s2 += d2 * d2
            s3 += d3 * d3
            s4 += d4 * d4
            s5 += d5 * d5
            s6 += d6 * d6
            s7 += d7 * d7
        total = ((s0 + s4) + (s2 + s6)) + ((s1 + s5) + (s3 + s7))
        for j in range(whole, dimension):
            d0 = np.float64(block[i, j]) - np.float64(centroids[c, j])
            total += d0 * d0
        result[p] = total


@_loop()
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


@_loop()
def find_moved(start: int, stop: int, before: np.ndarray, after: np.ndarray, is_moved: np.ndarray) -> None:
    """Which of the rows `start` to `stop` - 1 of two matrices are not the same."""
    for c in range(start, stop):
        is_moved[c] = False
        for j in range(before.shape[1]):
            if before[c, j] != after[c, j]:
                is_moved[c] = True
                break


@_loop(fastmath={"nnan", "nsz"})
def _largest(chunk: np.ndarray) -> np.float32:
    # With a fixed number of turns the compiler makes a few vector operations of it.
    largest = chunk[0]
    for j in range(1, CHUNK):
        largest = chunk[j] if chunk[j] > largest else largest
    return largest


@_loop(fastmath=_MULTIPLY_ADD)
def _four_products(block: np.ndarray, rows: np.ndarray, centroid: np.ndarray, products: np.ndarray) -> None:
    row0, row1, row2, row3 = block[rows[0]], block[rows[1]], block[rows[2]], block[rows[3]]
    total0 = total1 = total2 = total3 = np.float32(0)
    for j in range(len(centroid)):
        value = centroid[j]
        total0 += row0[j] * value
        total1 += row1[j] * value
        total2 += row2[j] * value
        total3 += row3[j] * value
    products[0], products[1], products[2], products[3] = total0, total1, total2, total3


@_loop()
def _chunk_maxima(row: np.ndarray, maxima: np.ndarray) -> None:
    for chunk in range(len(maxima)):
        maxima[chunk] = _largest(row[chunk * CHUNK : chunk * CHUNK + CHUNK])


@_loop()
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


@_loop()
def search_rows(
    is_alone: bool,
    most_open: float,
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
    """`search_bounded`; of a row no more than the share `most_open` of the chunks may be open."""
    n_rows, n_chunks, none = len(order), bounds.shape[1] // CHUNK, np.float32(-np.inf)
    rows = np.empty(4, dtype=np.int64)
    found = np.empty(4, dtype=np.int64)
    leaders = np.empty(4, dtype=np.int64)
    top, second, rest = np.empty(4, np.float32), np.empty(4, np.float32), np.empty(4, np.float32)
    limit, products = np.empty(4, np.float32), np.empty(4, np.float32)
    maxima = np.empty((4, n_chunks), np.float32)
    for first_row in range(0, n_rows, 4):
        for r in range(4):
            # Four rows at a time; the last one again, and again with the same result, where they run out.
            q = min(first_row + r, n_rows - 1)
            i = order[q]
            rows[r], found[r], leaders[r] = i, 0, -1
            if left_out[i] >= 0:
                bounds[q, left_out[i]] = none
            _chunk_maxima(bounds[q], maxima[r])
            top[r] = second[r] = rest[r] = none
            if is_alone:
                # The largest bound is a good guess, and what it scores rules out most.
                leader = _leader(bounds[q], maxima[r])
                top[r] = _product(block[i], centroids[leader]) + bias[leader]
                found[r] = leaders[r] = leader
            limit[r] = max(at_least[i], top[r] - slack[i]) - error[i]
        q1, q2, q3 = (
            min(first_row + 1, n_rows - 1),
            min(first_row + 2, n_rows - 1),
            min(first_row + 3, n_rows - 1),
        )
        bounds0, bounds1, bounds2, bounds3 = bounds[first_row], bounds[q1], bounds[q2], bounds[q3]
        n_open = 0
        for chunk in range(n_chunks):
            n_open += (
                maxima[0, chunk] >= limit[0]
                or maxima[1, chunk] >= limit[1]
                or maxima[2, chunk] >= limit[2]
                or maxima[3, chunk] >= limit[3]
            )
        if n_open > most_open * n_chunks:
            for r in range(4):
                column[rows[r]] = -1
            continue
        for chunk in range(n_chunks):
            if (
                maxima[0, chunk] < limit[0]
                and maxima[1, chunk] < limit[1]
                and maxima[2, chunk] < limit[2]
                and maxima[3, chunk] < limit[3]
            ):
                for r in range(4):
                    rest[r] = max(rest[r], maxima[r, chunk])
                continue
            for j in range(chunk * CHUNK, chunk * CHUNK + CHUNK):
                if (
                    bounds0[j] < limit[0]
                    and bounds1[j] < limit[1]
                    and bounds2[j] < limit[2]
                    and bounds3[j] < limit[3]
                ):
                    rest[0], rest[1] = max(rest[0], bounds0[j]), max(rest[1], bounds1[j])
                    rest[2], rest[3] = max(rest[2], bounds2[j]), max(rest[3], bounds3[j])
                    continue
                _four_products(block, rows, centroids[j], products)
                for r in range(4):
                    i = rows[r]
                    if j in (leaders[r], left_out[i]):
                        continue
                    score = products[r] + bias[j]
                    if score > top[r]:
                        second[r], top[r], found[r] = top[r], score, j
                    elif score > second[r]:
                        second[r] = score
                    else:
                        continue
                    if is_alone:
                        limit[r] = max(at_least[i], top[r] - slack[i]) - error[i]
                    else:
                        # Of the best two, its own included, the second is to be known: what is no better need not.
                        limit[r] = max(at_least[i], second[r], min(top[r], own[i])) - error[i]
        for r in range(4):
            i = rows[r]
            column[i], best[i], others[i] = found[r], top[r], max(second[r], rest[r] + error[i])


@_loop()
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


@_loop()
def accept_until_unsure(
    scores: np.ndarray,
    highest: np.ndarray,
    limits: np.ndarray,
    bounds: np.ndarray,
    may_keep: np.ndarray,
    keeps: np.ndarray,
    first: int,
) -> int:
    """Go through proposed seeds as `seeding` does, up to one whose score is too close to its limit.

    Args:
        scores: float32 (m, m) of each proposal against the others.
        highest: float32 (m,): best score against seeds kept; updated.
        limits: float64 (m,): scores from which a proposal is rejected.
        bounds: float32 (m,): what scores may be off by.
        may_keep: bool (m,): not rejected for another reason.
        keeps: bool (m,): filled in.
        first: proposal to begin with.

    Returns:
        The proposal that is not decided, or m.
    """
    for candidate in range(first, len(highest)):
        excess = highest[candidate] - limits[candidate]
        if highest[candidate] > -np.inf and not abs(excess) > bounds[candidate]:
            return candidate
        if excess < 0 and may_keep[candidate]:
            keeps[candidate] = True
            for other in range(candidate + 1, len(highest)):
                highest[other] = max(highest[other], scores[candidate, other])
    return len(highest)
