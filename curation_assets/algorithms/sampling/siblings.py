"""Children of the same parent share its quota: their shares as real numbers, the same on every machine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curation_assets.algorithms.sampling.ordering import group_sums, order_in_groups

_EXPONENT_BITS = 20
_PIECE = 2**15


@dataclass(frozen=True, slots=True)
class Siblings:
    """Clusters of one level, by parent and then by size; all arrays but those per parent are in that order."""

    order: np.ndarray
    """int64 (k,): clusters."""
    sizes: np.ndarray
    """int64 (k,)."""
    parents: np.ndarray
    """int64 (k,), ascending."""
    starts: np.ndarray
    """int64 (p + 1,): first position of each parent's children, and the end."""
    size_ends: np.ndarray
    """int64 (k + 1,): sum of the sizes before each position."""

    @classmethod
    def of(cls, sizes: np.ndarray, parents: np.ndarray, n_parents: int) -> Siblings:
        """Sort the clusters of a level.

        Args:
            sizes: int64 (k,), >= 0; their sum is below 2^53.
            parents: int64 (k,): the parent of each.
            n_parents: of the level above.
        """
        order = order_in_groups(parents, sizes)
        sorted_sizes = sizes[order]
        return cls(
            order,
            sorted_sizes,
            parents[order],
            _ends(group_sums(parents, n_parents)),
            _ends(sorted_sizes),
        )

    @property
    def available(self) -> np.ndarray:
        """Samples below each parent, int64 (p,)."""
        return np.diff(self.size_ends[self.starts])

    def before(self) -> np.ndarray:
        """Samples below the smaller children of the same parent, int64 (k,)."""
        return self.size_ends[:-1] - self.size_ends[self.starts[:-1]][self.parents]

    def first_cut(self, gives_all: np.ndarray) -> np.ndarray:
        """Position of the first child of each parent that does not give all it has, int64 (p,).

        Args:
            gives_all: bool (k,): true for the smaller children of a parent, false for the larger ones.
        """
        return self.starts[:-1] + np.bincount(self.parents[gives_all], minlength=len(self.starts) - 1)

    def shares(self, quotas: np.ndarray, evenness: float) -> np.ndarray:
        """Real-valued shares min(s, c s^(1 - evenness)) of children of size s, with c such that they sum to the quota.

        A child gives all it has if the quota reaches even though all larger ones get as much for their weight
        w = s^(1 - evenness): before + s (w + weights of the larger ones) / w <= quota. The left side grows with s.

        Args:
            quotas: float64 (p,), from 0 to the samples below each parent.
            evenness: from 0, shares proportional to sizes, to 1, equal shares.

        Returns:
            float64 (k,) in the order of the clusters. Weights are sums of integers, so nothing depends on an order.
        """
        weights = _integer_weights(self.sizes, evenness)
        weight_ends = _ends(weights)
        last = weight_ends[self.starts[1:]]
        reach = (last[self.parents] - weight_ends[:-1]) / np.maximum(weights, 1)
        reach *= self.sizes
        reach += self.before()
        cut = self.first_cut(reach <= quotas[self.parents])
        del reach
        taken = self.size_ends[cut] - self.size_ends[self.starts[:-1]]
        level = np.maximum(quotas - taken, 0) / np.maximum(last - weight_ends[cut], 1)
        shares = level[self.parents] * weights
        sizes = self.sizes.astype(np.float64)
        np.minimum(shares, sizes, out=shares)
        gives_all = np.arange(len(sizes)) < cut[self.parents]
        shares[gives_all] = sizes[gives_all]
        result = np.empty_like(shares)
        result[self.order] = shares
        return result


def power(bases: np.ndarray, exponent: float) -> np.ndarray:
    """Numbers to a power from 0 to 1, equal to the last bit on every machine.

    The exponent is rounded to a multiple of 2^-20, and the power is a product of repeated square roots. IEEE 754
    rounds square roots and products correctly, where powers differ between processors and libraries.

    Args:
        bases: float64 (n,), >= 0.
        exponent: from 0 to 1.

    Returns:
        float64 (n,).
    """
    digits = round(exponent * 2**_EXPONENT_BITS)
    if digits == 2**_EXPONENT_BITS:
        return bases.copy()
    result = np.ones_like(bases)
    # In pieces that stay in the cache.
    for start in range(0, len(bases), _PIECE):
        piece, root = result[start : start + _PIECE], bases[start : start + _PIECE].copy()
        left = digits
        for place in range(_EXPONENT_BITS - 1, -1, -1):
            if not left:
                break
            np.sqrt(root, out=root)
            if left >> place:
                piece *= root
                left -= 1 << place
    return result


def _integer_weights(sizes: np.ndarray, evenness: float) -> np.ndarray:
    """Multiples of s^(1 - evenness), int64 (k,), that sum to less than 2^62: their sums are exact."""
    if evenness == 1:
        return np.ones_like(sizes)
    weights = power(sizes.astype(np.float64), 1 - evenness)
    # Neither weights above sizes nor many weights above the largest one: the smaller bound counts.
    largest = int(np.ceil(weights.max(initial=0.0)))
    bits = min(len(weights) * largest, int(sizes.sum()) + len(sizes)).bit_length()
    weights *= 2.0 ** (61 - bits)
    return np.rint(weights, out=weights).astype(np.int64)


def _ends(values: np.ndarray) -> np.ndarray:
    """0 and the running sums, int64 (k + 1,)."""
    ends = np.zeros(len(values) + 1, dtype=np.int64)
    np.cumsum(values, out=ends[1:])
    return ends
