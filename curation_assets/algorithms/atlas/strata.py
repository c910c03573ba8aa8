"""How many samples of each group to show, so that small groups stay visible among large ones."""

from __future__ import annotations

import numpy as np

_FLOOR_SHARE = 0.25


def strata_quotas(sizes: np.ndarray, total: int) -> np.ndarray:
    """Split `total` over groups: a quarter of it evenly, as far as groups reach, the rest by size.

    Args:
        sizes: int (g,): members of each group.
        total: to take in all, >= 1.

    Returns:
        int64 (g,), at most `sizes`, summing to min(total, sizes.sum()); at least 1 for every group that has
        members, if `total` is at least the number of groups.

    Raises:
        ValueError: if `total` is below 1.
    """
    if total < 1:
        raise ValueError(f"total is {total}; must be at least 1")
    sizes = np.asarray(sizes, dtype=np.int64)
    if sizes.sum() <= total:
        return sizes.copy()
    n_groups = int((sizes > 0).sum())
    floor = max(int(total * _FLOOR_SHARE) // n_groups, 1 if total >= n_groups else 0)
    quotas = np.minimum(sizes, floor)
    left = sizes - quotas
    share = left * ((total - quotas.sum()) / left.sum())
    extra = np.floor(share).astype(np.int64)
    missing = total - int(quotas.sum() + extra.sum())
    # Largest remainders first; of equal ones the first group.
    order = np.argsort(-(share - extra), kind="stable")
    open_groups = order[(quotas + extra < sizes)[order]][:missing]
    extra[open_groups] += 1
    return quotas + extra
