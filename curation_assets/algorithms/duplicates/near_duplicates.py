"""Near duplicates among prepared rows of one coarse cluster, and exact duplicates by digest.

Prepared rows are whole multiples of 2^-24 and of unit length, so a cosine summed in float64 is exact, in whatever
order. A float32 product decides the pairs that are clearly above or below the threshold; the others are summed
again. What counts as a duplicate therefore does not depend on chunks, threads or the BLAS library.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curation_assets.algorithms.search.rounding import product_error

# Prepared rows are off unit length by less than this, so rows of one direction reach no more than 1 minus it.
_LENGTH_ERROR = 2.0**-20
BLOCK_ROWS = 1024
BLOCK_COLUMNS = 4096
_PAIR_BYTES = 2**24


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
    rows: np.ndarray,
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
        rows: float32 (m, d), prepared, in keep order.
        is_open: bool (m,): to be judged; the others are kept already and stay.
        is_inner: bool (m,): no other cluster looks at the row.
        threshold: cosine, see `effective_threshold`.
        block_rows: rows judged at a time.
        block_columns: rows they are compared with at a time: buffers take 5 bytes a pair.

    Returns:
        Verdicts; those of rows that are not open are all false. Memory beside the rows: a copy of the candidates.
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
            left, right = close_pairs(rows[block], rows[columns], threshold)
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
    rows: np.ndarray,
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
    later, earlier = close_pairs(rows[block], rows[block], threshold)
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


def close_pairs(left: np.ndarray, right: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Pairs whose cosine is at least the threshold, exactly.

    Args:
        left: float32 (a, d), prepared.
        right: float32 (b, d), prepared.
        threshold: cosine.

    Returns:
        int64 positions in `left` and in `right`, sorted. Memory: 5 bytes for each of the a b pairs.
    """
    # Rows of unit length: |product - cosine| <= error. Pairs within the error of the threshold are summed exactly.
    error = product_error(left.shape[1])
    products = left @ right.T
    found_left, found_right = np.nonzero(products >= np.float32(threshold - error))
    unsure = np.flatnonzero(products[found_left, found_right] <= threshold + error)
    below = unsure[exact_cosines(left, found_left[unsure], right, found_right[unsure]) < threshold]
    return np.delete(found_left, below), np.delete(found_right, below)


def nearest_kept(
    removed: np.ndarray,
    kept: np.ndarray,
    *,
    block_rows: int = BLOCK_ROWS,
    block_columns: int = BLOCK_COLUMNS,
) -> tuple[np.ndarray, np.ndarray]:
    """The kept row with the highest cosine for each removed one; of equal ones the first.

    Args:
        removed: float32 (a, d), prepared.
        kept: float32 (b, d), prepared, b >= 1.
        block_rows: removed rows looked at together.
        block_columns: kept rows they are compared with at a time.

    Returns:
        int64 (a,) positions in `kept` and their exact cosines, float64 (a,).
    """
    nearest = np.zeros(len(removed), dtype=np.int64)
    cosines = np.zeros(len(removed))
    # The nearest row's product may be an error too low, the highest one an error too high.
    slack = np.float32(2 * product_error(kept.shape[1]))
    for start in range(0, len(removed), block_rows):
        block = removed[start : start + block_rows]
        best = np.full(len(block), -np.inf, dtype=np.float32)
        pairs: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        for first in range(0, len(kept), block_columns):
            products = block @ kept[first : first + block_columns].T
            best = np.maximum(best, products.max(axis=1))
            row, column = np.nonzero(products >= (best - slack)[:, None])
            pairs.append((row, first + column, products[row, column]))
        row, column, product = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
        close = product >= (best - slack)[row]
        row, column = row[close], column[close]
        exact = exact_cosines(block, row, kept, column)
        order = np.lexsort((column, -exact, row))
        _, firsts = np.unique(row[order], return_index=True)
        nearest[start : start + len(block)] = column[order[firsts]]
        cosines[start : start + len(block)] = exact[order[firsts]]
    return nearest, cosines


def exact_cosines(left: np.ndarray, i: np.ndarray, right: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Cosines of pairs (left[i], right[j]) of prepared rows, float64, summed without rounding."""
    result = np.empty(len(i))
    step = max(1, _PAIR_BYTES // (16 * max(1, left.shape[1])))
    for start in range(0, len(i), step):
        piece = slice(start, start + step)
        wide = left[i[piece]].astype(np.float64)
        result[piece] = np.einsum("ij,ij->i", wide, right[j[piece]].astype(np.float64))
    return result


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
