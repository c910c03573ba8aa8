"""Which clusters of level 1 stand for a large cluster: examples are shared out down the tree by mass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Representatives:
    """The clusters of level 1 that stand for one cluster, those of its largest child first."""

    clusters: np.ndarray
    """int64 (m,): clusters of level 1."""
    counts: np.ndarray
    """int64 (m,), positive: examples of each."""
    n_children: int
    """Child clusters that hold samples; 0 for a cluster of level 1."""
    n_shown: int
    """Those of them that have an example. No others of that number hold more samples."""
    covered: float
    """Share of the cluster's samples that lie in them."""


def representatives(
    cluster: int, sizes: Sequence[np.ndarray], parents: Sequence[np.ndarray], n_examples: int
) -> Representatives:
    """Share the examples of a top-level cluster out to its children in proportion to their samples, down to level 1.

    A child that is the only one is passed through: children are counted at the first level that divides the cluster.

    Args:
        cluster: a cluster of the top level.
        sizes: per level, int64 (k_t,): samples below each cluster.
        parents: per level but the top, int64 (k_t,): cluster of the level above.
        n_examples: to share out, at least 1; a cluster with fewer samples gets as many as it has.

    Raises:
        ValueError: if `n_examples` is below 1 or the cluster has no samples.
    """
    total = int(sizes[-1][cluster])
    if n_examples < 1 or total < 1:
        raise ValueError(
            f"cluster {cluster} has {total} samples and gets {n_examples} examples: both must be at least 1"
        )
    clusters, counts = np.array([cluster], dtype=np.int64), np.array([min(n_examples, total)], dtype=np.int64)
    divided: tuple[int, int, float] | None = None
    for mass, above in zip(reversed(sizes[:-1]), reversed(parents), strict=True):
        below: list[np.ndarray] = []
        parts: list[np.ndarray] = []
        n_children = 0
        for parent, n in zip(clusters.tolist(), counts.tolist(), strict=True):
            children = np.flatnonzero((above == parent) & (mass > 0))
            children = children[np.argsort(-mass[children], kind="stable")]
            shared = share_out(mass[children], n)
            below.append(children[shared > 0])
            parts.append(shared[shared > 0])
            n_children += len(children)
        clusters, counts = np.concatenate(below), np.concatenate(parts)
        if divided is None and n_children > 1:
            divided = n_children, len(clusters), float(mass[clusters].sum() / total)
    n_children, n_shown, covered = divided or (0, 0, 1.0)
    return Representatives(clusters, counts, n_children, n_shown, covered)


def share_out(sizes: np.ndarray, n: int) -> np.ndarray:
    """Whole numbers in proportion to sizes: shares rounded down, what is left to the largest remainders.

    Of equal remainders the larger one comes first, then the one that stands first. So those that get something are the
    largest ones.

    Args:
        sizes: int64 (k,), positive.
        n: from 0 to the sum of the sizes.

    Returns:
        int64 (k,), at most `sizes`, summing to n.
    """
    shares, remainders = np.divmod(sizes.astype(np.int64) * n, int(sizes.sum()))
    order = np.lexsort((-sizes, -remainders))
    shares[order[: n - int(shares.sum())]] += 1
    return shares
