"""Near duplicates among prepared rows of one coarse cluster, and exact duplicates by digest.

Rows are compared by `neighbours.exact`, on the device that they are on: what counts as a duplicate does not depend on
chunks, threads, the device or the library that searches.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from curation_assets.algorithms.neighbours.exact import pairs_within

# Prepared rows are off unit length by less than this, so rows of one direction reach no more than 1 minus it.
_LENGTH_ERROR = 2.0**-20
BLOCK_ROWS = 1024
BLOCK_COLUMNS = 4096


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What one coarse cluster says about its open rows."""

    removed: np.ndarray
    """bool (m,): a kept row lies at the threshold or above; final."""
    blocked: np.ndarray
    """bool (m,): no kept one does, but an earlier row that may be kept; to be judged again."""
    n_comparisons: int

    @property
    def free(self) -> np.ndarray:
        """Rows that no kept row and no candidate here is too close to, bool (m,)."""
        return ~(self.removed | self.blocked)


def judge_cluster(
    rows: torch.Tensor,
    is_open: np.ndarray,
    is_inner: np.ndarray,
    *,
    threshold: float,
    block_rows: int = BLOCK_ROWS,
    block_columns: int = BLOCK_COLUMNS,
) -> Verdicts:
    """Go through a cluster's open rows in keep order and remove each that a kept row is too close to.

    A row is kept once no earlier row that is kept, or may still be kept, lies at the threshold. A row that other
    clusters look at too is only kept if all of them agree: here it stays a candidate, which blocks rows after it.

    Args:
        rows: float32 (m, d), prepared, in keep order, on any device.
        is_open: bool (m,): to be judged; the others are kept already and stay.
        is_inner: bool (m,): no other cluster looks at the row.
        threshold: cosine, see `effective_threshold`.
        block_rows: rows judged at a time.
        block_columns: rows they are compared with at a time: if all are near duplicates, a pair takes 40 bytes.

    Returns:
        Verdicts; those of rows that are not open are all false. Memory beside the rows: that of a block's pairs, and
        on the device a copy of its rows.
    """
    n_rows = len(rows)
    removed, blocked = np.zeros(n_rows, dtype=bool), np.zeros(n_rows, dtype=bool)
    candidates = np.flatnonzero(~is_open)
    is_kept = ~is_open
    todo = np.flatnonzero(is_open)
    n_comparisons = 0
    for start in range(0, len(todo), block_rows):
        block = todo[start : start + block_rows]
        for first in range(0, len(candidates), block_columns):
            columns = candidates[first : first + block_columns]
            left, right = _close_pairs(rows, block, columns, threshold)
            by_kept = is_kept[columns[right]]
            removed[block[left[by_kept]]] = True
            blocked[block[left[~by_kept]]] = True
            n_comparisons += len(block) * len(columns)
        left = block[~removed[block]]
        n_comparisons += len(left) * (len(left) - 1) // 2
        _settle_block(rows, left, is_inner, threshold, is_kept, removed, blocked)
        candidates = np.concatenate([candidates, left[~removed[left]]])
    return Verdicts(removed, blocked & ~removed, n_comparisons)


def _settle_block(
    rows: torch.Tensor,
    block: np.ndarray,
    is_inner: np.ndarray,
    threshold: float,
    is_kept: np.ndarray,
    removed: np.ndarray,
    blocked: np.ndarray,
) -> None:
    """Judge the rows of a block against each other; fills in the last three arrays.

    Every round keeps the rows without an earlier neighbour that may be kept and removes their neighbours, so it
    takes as many rounds as the longest chain, and no loop over rows.
    """
    later, earlier = _close_pairs(rows, block, block, threshold)
    # Each pair once, and no row with itself.
    once = later > earlier
    later, earlier = block[later[once]], block[earlier[once]]
    from_outside = blocked.copy()
    while True:
        stands = ~(removed[later] | removed[earlier])
        later, earlier = later[stands], earlier[stands]
        blocked[block] = from_outside[block]
        blocked[later] = True
        sure = block[is_inner[block] & ~removed[block] & ~blocked[block]]
        is_kept[sure] = True
        falls = later[is_kept[earlier]]
        if not len(falls):
            return
        removed[falls] = True


def _close_pairs(
    rows: torch.Tensor, left: np.ndarray, right: np.ndarray, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of the rows `left` (a,) and `right` (b,) at the threshold, as positions in these."""
    places = [torch.from_numpy(side).to(rows.device) for side in (left, right)]
    of_left, of_right = pairs_within(rows[places[0]], rows[places[1]], threshold)
    return of_left.cpu().numpy(), of_right.cpu().numpy()


def effective_threshold(threshold: float) -> float:
    """The threshold as prepared rows can reach it: 1 means the same direction, up to the rounding of rows."""
    return min(threshold, 1 - _LENGTH_ERROR)


def exact_twins(digests: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """For each row the one of equal digest that stays, which is the lowest in rank.

    Args:
        digests: uint64 (n, w): the first 64 w bits of each row's digest.
        rank: int64 (n,), all different.

    Returns:
        int64 (n,): -1 for rows that stay. Memory: 24 bytes a row.
    """
    columns = [digests[:, column] for column in range(digests.shape[1])]
    order = np.lexsort((rank, *columns))
    # Equal digests lie next to each other, lowest rank first: a row's twin is where its run begins.
    begins = np.ones(len(order), dtype=bool)
    begins[1:] = (digests[order[1:]] != digests[order[:-1]]).any(axis=1)
    twins = np.empty(len(order), dtype=np.int64)
    twins[order] = order[np.maximum.accumulate(np.where(begins, np.arange(len(order)), 0))]
    twins[order[begins]] = -1
    return twins
