"""Sorting inside groups at the speed of sorting plain integers, for draws from millions of clusters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

BLOCK_ROWS = 2**17
"""Rows that are sorted at a time: their arrays stay in the cache."""
_CHUNK_ROWS = 2**22
_MOST_BLOCKS = 2**15


def order_in_groups(groups: np.ndarray, *keys: np.ndarray) -> np.ndarray:
    """Positions by group, then by each key in turn, then by position: `np.lexsort((*keys[::-1], groups))`, faster.

    Args:
        groups: integers (n,), >= 0; their largest is at most a few times n, for it is the length of arrays.
        keys: at least one, (n,) integers or floats; NaN comes last.

    Returns:
        int64 (n,).
    """
    order = np.empty(len(groups), dtype=np.int64)
    start = 0
    for rows in sorted_blocks(groups, keys, group_sums(groups)):
        order[start : start + len(rows)] = rows
        start += len(rows)
    return order


def group_sums(groups: np.ndarray, n_groups: int = 0, weights: np.ndarray | None = None) -> np.ndarray:
    """Rows of each group, or the sum of their weights: int64 (at least n_groups,).

    Exact, where floats stop at 2**53. Peak memory: 70 MB and another array of its length beyond the result.

    Args:
        groups: integers (n,), >= 0.
        n_groups: length of the result; it is longer if a group beyond it occurs, without weights.
        weights: integers (n,).
    """
    sums = np.zeros(n_groups, dtype=np.int64)
    for start in range(0, len(groups), _CHUNK_ROWS):
        part = groups[start : start + _CHUNK_ROWS]
        if weights is not None:
            np.add.at(sums, part, weights[start : start + _CHUNK_ROWS].astype(np.int64, copy=False))
            continue
        counts = np.bincount(part, minlength=len(sums))
        counts[: len(sums)] += sums
        sums = counts
    return sums


def run_starts(groups: np.ndarray) -> np.ndarray:
    """Where each run of equal values begins, int64."""
    if not len(groups):
        return np.zeros(0, dtype=np.int64)
    return np.flatnonzero(np.concatenate([[True], groups[1:] != groups[:-1]]))


def sorted_blocks(
    groups: np.ndarray, keys: Sequence[np.ndarray], sizes: np.ndarray, *, block_rows: int = BLOCK_ROWS
) -> Iterator[np.ndarray]:
    """The same positions in blocks of whole groups, which follow each other in the order of the groups.

    Rows are counted into blocks of neighbouring groups first. Inside a block group, key and position fit into the
    64 bits of one integer, or all but the last bits of the key do; such integers are sorted without an index
    beside them, and what the missing bits would decide is put right.

    Args:
        groups: integers (n,), >= 0.
        keys: see `order_in_groups`.
        sizes: int64 (k,): rows of each group; a group of size 0 is left out, even if it has rows.
        block_rows: of a block, unless a single group has more.

    Yields:
        uint32 positions (int64 from 4 billion rows on). Peak memory: 4 bytes a row that is sorted, 30 a group, and
        60 a row of the largest block.
    """
    block_of_group, block_sizes = _cut_into_blocks(sizes, block_rows)
    order = _partition(groups, block_of_group, block_sizes)
    start = 0
    for size in block_sizes[block_sizes > 0].tolist():
        rows = order[start : start + size]
        start += size
        yield rows[_block_order(groups[rows], [key[rows] for key in keys])]


def _cut_into_blocks(sizes: np.ndarray, block_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Block of each group, uint16 (k,), one beyond the last for groups left out, and the rows of each block."""
    n_rows = int(sizes.sum())
    # At most 2^15 blocks: their numbers fit 16 bits, which `_partition` sorts by counting.
    block_rows = max(block_rows, n_rows // (_MOST_BLOCKS // 2))
    # A group belongs where its middle lies, so that large ones do not drag their neighbours along.
    ends = np.cumsum(sizes)
    blocks = (ends - (sizes + 1) // 2) // block_rows
    # Numbers without gaps, since a large group skips some.
    blocks = np.cumsum(np.diff(blocks, prepend=blocks[:1]) > 0)
    block_sizes = np.bincount(blocks, weights=sizes).astype(np.int64)
    blocks = blocks.astype(np.uint16)
    blocks[sizes == 0] = len(block_sizes)
    return blocks, block_sizes


def _partition(groups: np.ndarray, block_of_group: np.ndarray, block_sizes: np.ndarray) -> np.ndarray:
    """Positions by block, ascending in each; rows of groups left out are not among them."""
    n_blocks = len(block_sizes)
    free = np.cumsum(block_sizes) - block_sizes
    dtype = np.uint32 if len(groups) < 2**32 else np.int64
    order = np.empty(int(block_sizes.sum()), dtype=dtype)
    for start in range(0, len(groups), _CHUNK_ROWS):
        blocks = block_of_group[groups[start : start + _CHUNK_ROWS]]
        # Sixteen bits are sorted by counting.
        local = np.argsort(blocks, kind="stable")
        counts = np.bincount(blocks, minlength=n_blocks + 1)[:n_blocks]
        local = local[: counts.sum()]
        # Row j of the sorted chunk moves by: first free place of its block - first place of the block in the chunk.
        shift = free - (np.cumsum(counts) - counts)
        order[np.repeat(shift, counts) + np.arange(len(local))] = local + start
        free += counts
    return order


def _block_order(groups: np.ndarray, keys: Sequence[np.ndarray]) -> np.ndarray:
    """Positions by group, then by keys. The last key decides least: it is sorted by first, and ties stay in order."""
    first, *ties = [_sortable(key) for key in keys]
    groups = groups.astype(np.uint64)
    order: np.ndarray | None = None
    for key in reversed(ties):
        step = _stable_order(np.zeros_like(key), key if order is None else key[order])
        order = step if order is None else order[step]
    if order is None:
        return _stable_order(groups, first)
    return order[_stable_order(groups[order], first[order])]


def _stable_order(high: np.ndarray, low: np.ndarray) -> np.ndarray:
    """Positions by two integers, uint64 (n,) each; equal ones stay in order."""
    n = np.uint64(len(low))
    position_bits = int(n).bit_length()
    high, low = high - high.min(), low - low.min()
    low_bits = int(low.max()).bit_length()
    # high | low | position from the top bit down; what does not fit are the last bits of low.
    room = 64 - position_bits - int(high.max()).bit_length()
    missing = max(0, low_bits - room)
    packed = ((high << np.uint64(low_bits - missing)) | (low >> np.uint64(missing))) << np.uint64(
        position_bits
    )
    packed |= np.arange(n, dtype=np.uint64)
    packed.sort()
    order = (packed & np.uint64(2**position_bits - 1)).astype(np.int64)
    return _settled(order, packed >> np.uint64(position_bits), low[order]) if missing else order


def _settled(order: np.ndarray, prefixes: np.ndarray, lows: np.ndarray) -> np.ndarray:
    """The order, put right where equal prefixes hide different values of `low`."""
    same = prefixes[1:] == prefixes[:-1]
    unsettled = np.flatnonzero(same & (lows[1:] != lows[:-1])) + 1
    if len(unsettled):
        # Only runs of equal prefixes with different lows are sorted again.
        run = np.cumsum(np.concatenate([[True], ~same])) - 1
        is_unsettled = np.zeros(int(run[-1]) + 1, dtype=bool)
        is_unsettled[run[unsettled]] = True
        inside = np.flatnonzero(is_unsettled[run])
        order[inside] = order[inside[np.lexsort((lows[inside], run[inside]))]]
    return order


def _sortable(key: np.ndarray) -> np.ndarray:
    """Integers uint64 (n,) in the order of the key."""
    if key.dtype.kind in "ub":
        return key.astype(np.uint64)
    if key.dtype.kind == "i":
        return key.astype(np.int64).view(np.uint64) ^ np.uint64(2**63)
    bits = 8 * key.dtype.itemsize
    if key.dtype.kind != "f" or bits > 64:
        raise TypeError(
            f"keys of type {key.dtype} cannot be sorted: use integers or floats of at most 64 bits"
        )
    # Adding 0 turns -0 into 0; every NaN becomes the same one.
    positive = np.where(np.isnan(key), np.array(np.nan, key.dtype), key + np.array(0, key.dtype))
    # Bits of floats sort as unsigned integers once those of negative numbers are inverted and the others' sign is set.
    values, sign = positive.view(f"u{bits // 8}").astype(np.uint64), np.uint64(2 ** (bits - 1))
    return np.where(values & sign, np.uint64(2**bits - 1) - values, values | sign)
