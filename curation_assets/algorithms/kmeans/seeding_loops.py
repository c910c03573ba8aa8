"""Compiled loops of the search for seeds: draws by mass, and the choice among drawn rows."""

from __future__ import annotations

import numpy as np

from curation_assets.algorithms.compiled import compiled

SAME_TOTAL = 1e-12
"""Totals that differ by a smaller share count as equal."""


@compiled()
def draw_in_blocks(
    mass: np.ndarray, edges: np.ndarray, blocks: np.ndarray, positions: np.ndarray, drawn: np.ndarray
) -> None:
    """Find the rows at given positions of the cumulative mass of their blocks.

    Args:
        mass: float64 (n,).
        edges: int64 (b + 1,): block i has the rows from edges[i] up to edges[i + 1], one of them with mass.
        blocks: int64 (m,); those of one block in a row share the sum of its mass.
        positions: float64 (m,), from 0 to the sum of the block's mass.
        drawn: int64 (m,): filled in, rows whose mass is not zero.
    """
    largest = 0
    for block in range(len(edges) - 1):
        largest = max(largest, edges[block + 1] - edges[block])
    cumulative, summed, last = np.empty(largest), -1, 0
    for p in range(len(blocks)):
        start, size = edges[blocks[p]], edges[blocks[p] + 1] - edges[blocks[p]]
        if blocks[p] != summed:
            summed, total = blocks[p], 0.0
            for i in range(size):
                total += mass[start + i]
                cumulative[i] = total
                if mass[start + i] > 0:
                    last = i
        # Rounding may put a position beyond the end of the cumulative sum: it takes the last row with mass.
        drawn[p] = start + min(np.searchsorted(cumulative[:size], positions[p], side="right"), last)


@compiled()
def keep_best_candidate(
    distances: np.ndarray,
    places: np.ndarray,
    candidates: np.ndarray,
    weights: np.ndarray,
    squared: np.ndarray,
) -> tuple[int, float]:
    """Find the candidate that leaves the smallest total of squared distances, and account for it.

    Two rows far from all others lower the total by the same, up to rounding. The first one drawn wins, so that the
    choice does not depend on the order of a sum.

    Args:
        distances: float64 (p, n): squared distances to all rows, that of candidate c at places[c].
        places: int64 (c,).
        candidates: int64 (c,): rows.
        weights: float64 (n,).
        squared: float64 (n,): squared distances to the nearest seed; updated.

    Returns:
        The candidate's row and the total it leaves.
    """
    totals, whole = np.empty(len(candidates)), len(squared) - len(squared) % 2
    for c in range(len(candidates)):
        to_candidate = distances[places[c]]
        even = odd = 0.0
        for i in range(0, whole, 2):
            even += min(to_candidate[i], squared[i]) * weights[i]
            odd += min(to_candidate[i + 1], squared[i + 1]) * weights[i + 1]
        for i in range(whole, len(squared)):
            even += min(to_candidate[i], squared[i]) * weights[i]
        totals[c] = even + odd
    winner, most = 0, totals.min() * (1 + SAME_TOTAL)
    while totals[winner] > most:
        winner += 1
    to_winner = distances[places[winner]]
    for i in range(len(squared)):
        squared[i] = min(to_winner[i], squared[i])
    squared[candidates[winner]] = 0.0
    return candidates[winner], totals[winner]


@compiled()
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

    A proposal is kept if no seed kept before it scores more than its limit, max over kept c of x.c + bias < limit.

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


@compiled()
def keep_until_unsure(
    verdicts: np.ndarray, may_keep: np.ndarray, keeps: np.ndarray, first: int, room: int
) -> int:
    """Go through proposed seeds as `thinning` does, up to one that a score is too close to decide.

    Args:
        verdicts: uint8 (m, m): what proposal j, if it is kept, makes of proposal i: 2 rejects it for certain, 1 may, 0
            does not.
        may_keep: bool (m,): not rejected for another reason.
        keeps: bool (m,): filled in.
        first: proposal to begin with.
        room: no more are looked at once so many are kept.

    Returns:
        The proposal that is not decided, or m.
    """
    n_kept = 0
    for number in range(first):
        n_kept += keeps[number]
    for number in range(first, len(verdicts)):
        if n_kept >= room:
            break
        worst, row = 0, verdicts[number]
        # To the end, without a break: the compiler vectorises that.
        for other in range(number):
            worst = max(worst, row[other] * keeps[other])
        if worst == 1:
            return number
        if worst == 0 and may_keep[number]:
            keeps[number] = True
            n_kept += 1
    return len(verdicts)
