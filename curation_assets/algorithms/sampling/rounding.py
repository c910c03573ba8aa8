"""Real-valued shares become whole numbers: at random, but never more than one off at any level of the tree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from curation_assets.algorithms.sampling.ordering import order_in_groups


def round_shares(
    shares: np.ndarray,
    sizes: np.ndarray,
    total: int,
    parents: Sequence[np.ndarray],
    priorities: Sequence[np.ndarray],
    start: float,
) -> np.ndarray:
    """Whole numbers with an exact total, each the share rounded down or up and on average equal to it.

    Systematic sampling (Madow 1949) of the fractional parts: they are laid end to end, cluster beside sibling, and
    a mark is set at every whole number plus a random start. A cluster with a mark is rounded up. Clusters below
    the same one of any level lie side by side, so the sum of their numbers is the sum of their shares rounded
    down or up, too.

    Args:
        shares: float64 (k_1,), from 0 to the sizes; they sum to `total` but for the rounding of floats.
        sizes: int64 (k_1,).
        total: at most the sum of the sizes.
        parents: per level but the top, int64 (k_t,): cluster of the level above.
        priorities: per level, (k_t,) sortable: the order of siblings.
        start: from 0 to below 1, random.

    Returns:
        int64 (k_1,), from 0 to the sizes, summing to `total`. Integers decide: nothing depends on an order of sums.
    """
    result = np.floor(shares).astype(np.int64)
    open_ = np.flatnonzero(shares > result)
    left_over = total - int(result.sum())
    # Floats of 53 bits may be off by a few units where totals are near 2^53.
    if left_over < 0:
        result -= _first(-left_over, result)
        left_over = 0
    elif left_over > len(open_):
        room = sizes - result
        room[open_] -= 1
        result += _first(left_over - len(open_), room)
        left_over = len(open_)
    open_ = open_[_tree_order(open_, parents, priorities)]
    unit = 2 ** (62 - len(open_).bit_length())
    lengths = np.rint((shares[open_] - np.floor(shares[open_])) * unit).astype(np.int64)
    # They sum to whole units: what floats are off goes to the first that have room.
    missing = left_over * unit - int(lengths.sum())
    if missing >= 0:
        lengths += _first(missing, unit - lengths)
    else:
        lengths -= _first(-missing, lengths)
    marks = np.cumsum(lengths)
    marks += int(start * unit)
    marks //= unit
    result[open_] += np.diff(marks, prepend=0)
    return result


def _tree_order(
    clusters: np.ndarray, parents: Sequence[np.ndarray], priorities: Sequence[np.ndarray]
) -> np.ndarray:
    """Positions of level-1 clusters such that those below any cluster are neighbours, siblings by priority."""
    ranks: np.ndarray | None = None
    for t in range(len(priorities) - 1, -1, -1):
        members = np.arange(len(priorities[t])) if t else clusters
        above = np.zeros(len(members), dtype=np.int64) if ranks is None else ranks[parents[t][members]]
        order = order_in_groups(above, priorities[t][members])
        if t:
            ranks = np.empty_like(order)
            ranks[order] = np.arange(len(order))
    return order


def _first(amount: int, room: np.ndarray) -> np.ndarray:
    """The amount, int64 (k,), put where there is room (int64 (k,), >= 0), first come first served."""
    ends = np.cumsum(room)
    return np.clip(amount - ends + room, 0, room)
