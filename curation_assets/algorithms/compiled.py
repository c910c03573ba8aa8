"""Compiled loops over pairs of a row and a centroid, and over scores while they are in the cache.

float32 sums may run in any order, so that the CPU's vector registers can be used; callers allow for the rounding error
of every order. float64 sums have a fixed order: their bits do not depend on the machine. Compiled code is cached beside
the source or, where that is not writable, in the user's cache.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numba
import numpy as np

Loop = TypeVar("Loop", bound=Callable[..., object])
# Scores whose largest is found at a time.
_CHUNK = 16
MULTIPLY_ADD = {"reassoc", "contract"}
"""What the compiler may do to a sum of products: add up in any order, and fuse a product with its sum."""


def compiled(*, fastmath: set[str] | bool = False) -> Callable[[Loop], Loop]:
    """Compile a loop; it releases Python's lock while it runs.

    Args:
        fastmath: what the compiler may do to floating-point operations, see numba.
    """

    def decorate(loop: Loop) -> Loop:
        fast: Loop
        try:
            fast = numba.njit(nogil=True, cache=True, fastmath=fastmath)(loop)
        except RuntimeError:
            # No writable place for a cache: every process compiles for itself.
            fast = numba.njit(nogil=True, fastmath=fastmath)(loop)
        return fast

    return decorate


@compiled(fastmath=MULTIPLY_ADD)
def product(row: np.ndarray, centroid: np.ndarray) -> np.float32:
    """Dot product of two rows, summed in float32."""
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
    """x.c + bias of pairs `start` to `stop` - 1, see `pairs.pair_scores`."""
    for p in range(start, stop):
        c = clusters[p]
        result[p] = product(block[rows[p]], centroids[c]) + bias[c]


@compiled()
def _total(values: np.ndarray) -> float:
    """Sum of float64 values in a fixed order.

    Eight partial sums run side by side (value j goes to sum j mod 8), which fills a vector register and is the same on
    every machine. They are then added as a tree, and the last few values one after the other.
    """
    whole = len(values) - len(values) % 8
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = 0.0
    for j in range(0, whole, 8):
        s0 += values[j]
        s1 += values[j + 1]
        s2 += values[j + 2]
        s3 += values[j + 3]
        s4 += values[j + 4]
        s5 += values[j + 5]
        s6 += values[j + 6]
        s7 += values[j + 7]
    total = ((s0 + s4) + (s2 + s6)) + ((s1 + s5) + (s3 + s7))
    for j in range(whole, len(values)):
        total += values[j]
    return total


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
    """|x - c|^2 of pairs `start` to `stop` - 1, in float64.

    IN: float32 rows and centroids. OUT: `result`, float64; see `pairs.squared_distances`.
    """
    dimension = block.shape[1]
    squares = np.empty(dimension)
    for p in range(start, stop):
        row, centroid = block[rows[p]], centroids[clusters[p]]
        # A loop of its own: with the conversion in it, the compiler does not vectorise the sum.
        for j in range(dimension):
            difference = np.float64(row[j]) - np.float64(centroid[j])
            squares[j] = difference * difference
        result[p] = _total(squares)


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
    """Add weight * x to the sums of x's cluster, columns `start` to `stop` - 1; see `Arithmetic.add_rows`."""
    for p in range(len(rows)):
        i, c, weight = rows[p], clusters[p], mass[p]
        for j in range(start, stop):
            sums[c, j] += weight * np.float64(block[i, j])


@compiled()
def add_sums(
    start: int, stop: int, clusters: np.ndarray, added: np.ndarray, sums: np.ndarray, squared: np.ndarray
) -> None:
    """Add rows `start` to `stop` - 1 of `added` to the sums of their clusters.

    IN: the clusters are all different, so that parts can run on several threads. OUT: `sums` and `squared`, the squared
    lengths of the sums that changed.
    """
    squares = np.empty(added.shape[1])
    for p in range(start, stop):
        row, here = added[p], sums[clusters[p]]
        for j in range(len(row)):
            here[j] += row[j]
        for j in range(len(row)):
            squares[j] = here[j] * here[j]
        squared[clusters[p]] = _total(squares)


@compiled()
def divide_sums(
    start: int,
    stop: int,
    clusters: np.ndarray,
    sums: np.ndarray,
    divisors: np.ndarray,
    quotients: np.ndarray,
) -> None:
    """Divide the sums of the clusters at `start` to `stop` - 1; OUT: `quotients`, rounded to float32 once."""
    for p in range(start, stop):
        here, quotient, divisor = sums[clusters[p]], quotients[clusters[p]], divisors[clusters[p]]
        for j in range(len(here)):
            quotient[j] = np.float32(here[j] / divisor)


@compiled()
def find_moved(start: int, stop: int, before: np.ndarray, after: np.ndarray, is_moved: np.ndarray) -> None:
    """Which of the rows `start` to `stop` - 1 of two matrices differ; OUT: `is_moved`."""
    for c in range(start, stop):
        left, right = before[c], after[c]
        n_different = 0
        # To the end of each row, without a break: the compiler vectorises that.
        for j in range(len(left)):
            n_different += left[j] != right[j]
        is_moved[c] = n_different > 0


@compiled(fastmath={"nnan", "nsz"})
def _largest(chunk: np.ndarray) -> np.float32:
    # A loop of fixed length becomes a few vector operations.
    largest = chunk[0]
    for j in range(1, _CHUNK):
        largest = chunk[j] if chunk[j] > largest else largest
    return largest


@compiled()
def _chunk_maxima(row: np.ndarray, maxima: np.ndarray) -> None:
    for chunk in range(len(maxima)):
        maxima[chunk] = _largest(row[chunk * _CHUNK : chunk * _CHUNK + _CHUNK])


@compiled()
def top_two_rows(
    scores: np.ndarray,
    at_least: np.ndarray,
    left_out: np.ndarray,
    best: np.ndarray,
    column: np.ndarray,
    second: np.ndarray,
) -> None:
    """Best and second-best of each row of scores, see `search_all`.

    IN: float32 (b, k), (b,), int64 (b,). OUT: the last three. The largest of each chunk of 16 scores is found by
    vector operations; only the chunk that holds the best is looked through for its position.
    """
    n_columns = scores.shape[1]
    whole = n_columns // _CHUNK
    maxima = np.empty(whole, np.float32)
    none = np.float32(-np.inf)
    for i in range(len(scores)):
        row = scores[i]
        if left_out[i] >= 0:
            row[left_out[i]] = none
        _chunk_maxima(row, maxima)
        largest, where = none, -1
        for chunk in range(whole):
            if maxima[chunk] > largest:
                largest, where = maxima[chunk], chunk
        for j in range(whole * _CHUNK, n_columns):
            if row[j] > largest:
                largest, where = row[j], whole
        best[i], column[i], second[i] = largest, 0, largest
        if largest < at_least[i]:
            continue
        runner_up, found = none, -1
        first, last = (
            (where * _CHUNK, where * _CHUNK + _CHUNK) if where < whole else (whole * _CHUNK, n_columns)
        )
        for chunk in range(whole):
            if chunk != where:
                runner_up = max(runner_up, maxima[chunk])
        if where < whole:
            for j in range(whole * _CHUNK, n_columns):
                runner_up = max(runner_up, row[j])
        for j in range(first, last):
            if found < 0 and row[j] == largest:
                found = j
            else:
                runner_up = max(runner_up, row[j])
        column[i], second[i] = found, runner_up
