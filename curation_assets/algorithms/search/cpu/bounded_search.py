"""The compiled search: scores only centroids whose upper bound reaches the best score so far.

Bounds are compared by their bits. Read as integers, with all bits but the sign flipped where they are negative, they
sort as the numbers do. Bounds in bfloat16 then need no conversion, and a vector register holds twice as many.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from curation_assets.algorithms.compiled import MULTIPLY_ADD, compiled, product

# Columns that a row is folded to before its largest value is looked for: all steps but the last ones then compare
# whole vectors.
_FOLDED = 256
# Scores further apart than this multiple of the slack are ordered for certain. It is above 1, so that the winner still
# looks clear after the difference is rounded.
_CLEARLY_APART = np.float32(1.01)


class Task(NamedTuple):
    """Rows and centroids of a search; see `search_bounded`."""

    block: np.ndarray
    """float32 (b, d)."""
    order: np.ndarray
    """int64 (o,): the rows to search for."""
    bounds: np.ndarray
    """int32 or int16 (o, q): bits of the bounds; overwritten."""
    centroids: np.ndarray
    """float32 (m, d)."""
    bias: np.ndarray
    """float32 (m,)."""


class RowLimits(NamedTuple):
    """What is known of each row of the block."""

    at_least: np.ndarray
    """float32 (b,): lower scores are of no interest; -inf where nothing is known."""
    above: np.ndarray
    """float32 (b,): a bound plus this is at least the score."""
    slack: np.ndarray
    """float32 (b,): scores that close to each other may be in either order."""
    own: np.ndarray
    """float32 (b,): score of a centroid that is not among these; -inf where there is none."""
    left_out: np.ndarray
    """int64 (b,): position of a centroid that does not count, or -1."""


class Answers(NamedTuple):
    """Filled in for each row of the block."""

    column: np.ndarray
    """int64 (b,): position of the best centroid; -1 where too many are open."""
    score: np.ndarray
    """float32 (b,): its score; -inf where none was scored."""
    others: np.ndarray
    """float32 (b,): no other centroid's score exceeds it."""


@compiled(fastmath=MULTIPLY_ADD)
def _eight_products(
    block: np.ndarray, rows: np.ndarray, left: np.ndarray, right: np.ndarray, products: np.ndarray
) -> None:
    """Products of four rows with each of two centroids, float32 (2, 4).

    Eight sums fill the CPU's pipelines, and their operands still fit its registers: 62 ns for four pairs (d = 384),
    against 95 with twelve sums.
    """
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
def _make_sortable(bits: np.ndarray, is_half: bool) -> None:
    """Turn the bits of numbers into keys: integers that sort as the numbers do.

    The shift gives all ones for a negative number and 0 for any other, so that the mask flips the bits below the
    sign of negative numbers only.
    """
    # With constants in the loop the compiler makes vector operations of that many bits.
    if is_half:
        for j in range(len(bits)):
            bits[j] ^= (bits[j] >> 15) & 0x7FFF
    else:
        for j in range(len(bits)):
            bits[j] ^= (bits[j] >> 31) & 0x7FFFFFFF


@compiled()
def _key(number: np.float32, is_half: bool) -> int:
    """The key of a number, rounded down to 16 bits where keys have that many.

    0 gets the key of -0, the lower of the two: both are no less than 0.
    """
    bits = int(np.float32(number).view(np.int32))
    if bits == 0:
        return -1
    bits ^= (bits >> 31) & 0x7FFFFFFF
    return bits >> 16 if is_half else bits


@compiled()
def _number(key: int, is_half: bool) -> np.float32:
    """The number of a key: the inverse of `_key`."""
    bits = int(key) << 16 if is_half else int(key)
    if bits < 0:
        bits ^= 0x7FFF0000 if is_half else 0x7FFFFFFF
    return np.int32(bits).view(np.float32)


@compiled()
def _fold(keys: np.ndarray, folded: np.ndarray) -> None:
    """Fold a row of keys to the width of `folded`; OUT: the largest key of each column, whose largest is the row's."""
    width = len(folded)
    for j in range(width):
        folded[j] = keys[j]
    for start in range(width, len(keys), width):
        part = keys[start : start + width]
        for j in range(len(part)):
            folded[j] = part[j] if part[j] > folded[j] else folded[j]


@compiled()
def _largest(keys: np.ndarray) -> int:
    largest = keys[0]
    for j in range(1, len(keys)):
        largest = keys[j] if keys[j] > largest else largest
    return largest


@compiled()
def _leader(keys: np.ndarray, folded: np.ndarray) -> int:
    """Position of the largest key of a row."""
    _fold(keys, folded)
    largest = _largest(folded)
    last = 0
    # Without branches, so that the compiler makes vector operations of it.
    for j in range(len(folded)):
        here = j if folded[j] == largest else 0
        last = here if here > last else last
    while keys[last] != largest:
        last += len(folded)
    return last


@compiled()
def _mark_open(keys: np.ndarray, places: np.ndarray, limit: np.ndarray, is_open: np.ndarray) -> None:
    """Mark the columns whose key for any of four rows reaches the row's limit."""
    row0, row1, row2, row3 = keys[places[0]], keys[places[1]], keys[places[2]], keys[places[3]]
    limit0, limit1, limit2, limit3 = limit[0], limit[1], limit[2], limit[3]
    for j in range(len(is_open)):
        # Without branches, as above.
        is_open[j] = (row0[j] >= limit0) | (row1[j] >= limit1) | (row2[j] >= limit2) | (row3[j] >= limit3)


@compiled()
def _marked(is_marked: np.ndarray, columns: np.ndarray) -> int:
    """List what is marked; returns how many there are."""
    # Most are not: eight bytes are passed over at a time, read as one integer.
    eights, n_marked = is_marked.view(np.uint64), 0
    for eight in range(len(eights)):
        if eights[eight]:
            for j in range(8 * eight, 8 * eight + 8):
                # Written in any case, and kept by counting it: no branch.
                columns[n_marked] = j
                n_marked += is_marked[j]
    return n_marked


@compiled()
def _raised(value: np.float32, share: np.float32) -> np.float32:
    """A value raised by a share of its size, lowered where the share is negative; infinite values stay."""
    return value * (np.float32(1) + share) if value > 0 else value * (np.float32(1) - share)


@compiled()
def search_rows(
    task: Task, limits: RowLimits, answers: Answers, is_alone: bool, most_open: float, roundoff: np.float32
) -> None:
    """`search_bounded` for bounds that are given by their bits.

    IN: bits of the bounds; `is_alone` if only the best is wanted; `most_open`, the share of centroids that may be open
    for any of four rows. OUT: `answers`.

    A centroid is open as long as bound + roundoff |bound| + above > threshold, where the threshold is what a score must
    exceed to matter. Solved for the bound that is one comparison of keys: key(bound) >= limit, with
    limit = key((threshold - above), lowered by its share). Every score may raise the threshold, and with it the limit.

    One function, with the state of the four rows in local arrays: passing that to functions of its own costs a tenth
    of the search (measured).
    """
    block, order, bounds, centroids, bias = task
    at_least, above, slack, own, left_out = limits
    column, best, others = answers
    n_rows, n_columns, is_half = len(order), bounds.shape[1], bounds.itemsize == 2
    # The lowest key there is: of what has been scored.
    scored = -(1 << (8 * bounds.itemsize - 1))
    rows, places = np.empty(4, dtype=np.int64), np.empty(4, dtype=np.int64)
    found, leaders = np.empty(4, dtype=np.int64), np.empty(4, dtype=np.int64)
    top, second, threshold = np.empty(4, np.float32), np.empty(4, np.float32), np.empty(4, np.float32)
    limit, products = np.empty(4, bounds.dtype), np.empty((2, 4), np.float32)
    is_open, columns = np.empty(n_columns, dtype=np.uint8), np.empty(n_columns + 1, dtype=np.int64)
    pair, folded = np.empty(2, dtype=np.int64), np.empty(min(_FOLDED, n_columns), bounds.dtype)
    for first_row in range(0, n_rows, 4):
        for r in range(4):
            # Four rows at a time. Where they run out the last one comes again, with the same result.
            q = places[r] = min(first_row + r, n_rows - 1)
            i = order[q]
            rows[r], found[r], leaders[r] = i, 0, -1
            if first_row + r == q:
                _make_sortable(bounds[q], is_half)
                if left_out[i] >= 0:
                    bounds[q, left_out[i]] = scored
            top[r] = second[r] = -np.inf
            if is_alone:
                # The highest bound is a good guess, and its score rules out most others.
                leader = _leader(bounds[q], folded)
                top[r] = product(block[i], centroids[leader]) + bias[leader]
                found[r] = leaders[r] = leader
            threshold[r] = max(at_least[i], top[r] - _CLEARLY_APART * slack[i])
            limit[r] = _key(_raised(threshold[r] - above[i], -roundoff), is_half)
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
                # Scores since the columns were listed may rule it out.
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
                    bounds[places[r], j] = scored
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
                        threshold[r] = max(at_least[i], top[r] - _CLEARLY_APART * slack[i])
                    else:
                        # The second of the best two, its own included, is to be known: what is lower need not be.
                        threshold[r] = max(at_least[i], second[r], min(top[r], own[i]))
                    limit[r] = _key(_raised(threshold[r] - above[i], -roundoff), is_half)
        for r in range(4):
            i = rows[r]
            rest = threshold[r]
            if not is_alone:
                # What has been scored has the lowest key: the highest bound left is of the others.
                _fold(bounds[places[r]], folded)
                rest = _raised(_number(_largest(folded), is_half), roundoff) + above[i]
            column[i], best[i], others[i] = found[r], top[r], max(second[r], rest)
