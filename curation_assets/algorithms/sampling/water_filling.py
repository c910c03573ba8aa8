"""Water-filling down the tree (section 3.4 of the paper): an even share for every cluster, with exact totals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from curation_assets.algorithms.randomness import Purpose, keyed_priorities
from curation_assets.algorithms.resampling import rank_in_group
from curation_assets.algorithms.sampling.ordering import group_sums, order_in_groups


@dataclass(frozen=True, slots=True)
class Quotas:
    """How much each cluster gives, level by level: in samples, or in the unit of a budget."""

    sizes: tuple[np.ndarray, ...]
    """int64 (k_t,) per level: admissible samples (or their weight) below each cluster."""
    quotas: tuple[np.ndarray, ...]
    """int64 (k_t,) per level: what to take; every level sums to the target size."""

    def ran_out_at(self, parents: Sequence[np.ndarray]) -> np.ndarray:
        """The highest level at which nothing was left for a level-1 cluster, int8 (k_1,); 0 if it got a share."""
        level_of = np.zeros(len(self.quotas[0]), dtype=np.int8)
        clusters = np.arange(len(self.quotas[0]))
        for t, quota in enumerate(self.quotas):
            if t:
                clusters = parents[t - 1][clusters]
            level_of[quota[clusters] == 0] = t + 1
        return level_of


def water_fill(
    sizes: np.ndarray,
    parents: np.ndarray,
    parent_quotas: np.ndarray,
    priorities: np.ndarray,
) -> np.ndarray:
    """Give each parent's quota to its children as evenly as their sizes allow.

    Below a parent with quota q the cut c solves sum(min(size, c)) = q: small children give all they have,
    large ones c each; what is left over when c is rounded down goes, one sample each, to the children above
    the cut with the smallest priorities.

    Args:
        sizes: int64 (k,): samples below each child.
        parents: int64 (k,): the parent of each child.
        parent_quotas: int64 (p,): at most the samples below each parent.
        priorities: (k,) sortable: decides the remainder.

    Returns:
        int64 (k,): quotas with 0 <= quota <= size, summing to the parents' quotas.

    Raises:
        ValueError: if a parent's quota exceeds the samples below it.
    """
    # Children by parent, small ones first. With sizes s below a parent of quota q, child i of m gives all it has if
    # s_0 + ... + s_(i-1) + s_i (m - i) <= q: the quota reaches even if all later ones give as much.
    order = order_in_groups(parents, sizes)
    sorted_sizes, sorted_parents = sizes[order], parents[order]
    n_children = np.bincount(parents, minlength=len(parent_quotas))
    available = group_sums(parents, len(parent_quotas), sizes)
    if (short := np.flatnonzero(parent_quotas > available)).size:
        parent = int(short[0])
        raise ValueError(
            f"the quota of cluster {parent} is {int(parent_quotas[parent]):,}, but only "
            f"{int(available[parent]):,} samples lie below it"
        )
    position = rank_in_group(n_children)
    quota = parent_quotas[sorted_parents]
    # Sizes of the smaller children of the same parent: the sum before a child less that before its parent's first.
    before = np.cumsum(sorted_sizes) - sorted_sizes
    starts = np.cumsum(n_children) - n_children
    filled = starts < len(before)
    base = np.zeros(len(parent_quotas), dtype=np.int64)
    base[filled] = before[starts[filled]]
    before -= base[sorted_parents]
    open_children = n_children[sorted_parents] - position
    gives_all = before + sorted_sizes * open_children <= quota
    # The others share what is left: c = (q - taken) // n_cut each, and one more where the division leaves a remainder.
    n_full = np.bincount(sorted_parents[gives_all], minlength=len(parent_quotas))
    taken = group_sums(sorted_parents[gives_all], len(parent_quotas), sorted_sizes[gives_all])
    n_cut = n_children - n_full
    cut, left_over = np.divmod(parent_quotas - taken, np.maximum(n_cut, 1))
    result = np.empty_like(sizes)
    result[order] = np.where(gives_all, sorted_sizes, cut[sorted_parents])
    # Children above the cut by priority: the first (q - taken) mod n_cut of each parent get one more.
    above_cut = order[~gives_all]
    by_priority = above_cut[order_in_groups(parents[above_cut], priorities[above_cut])]
    lucky = rank_in_group(n_cut) < left_over[parents[by_priority]]
    result[by_priority[lucky]] += 1
    return result


def plan_quotas(
    level_1_sizes: np.ndarray, parents: Sequence[np.ndarray], target_size: int, *, seed: int
) -> Quotas:
    """Water-fill a target size down the tree.

    Args:
        level_1_sizes: int64 (k_1,): admissible samples of each level-1 cluster, or their weight.
        parents: per level but the top, int64 (k_t,): cluster of the level above.
        target_size: samples, or weight, to take in all.
        seed: decides remainders.

    Returns:
        Sizes and quotas of every level, level 1 first. Whole-array operations, about 60 bytes a cluster.

    Raises:
        ValueError: if target_size is not between 1 and what there is.
    """
    sizes = [np.asarray(level_1_sizes, dtype=np.int64)]
    for t, parent in enumerate(parents):
        # The last clusters of a level may have no child: the level above them says how many there are.
        n_above = len(parents[t + 1]) if t + 1 < len(parents) else int(parent.max()) + 1
        sizes.append(group_sums(parent, n_above, sizes[-1]))
    n_samples = int(sizes[0].sum())
    if not 1 <= target_size <= n_samples:
        raise ValueError(
            f"target_size is {target_size:,}, but the tree holds {n_samples:,} admissible samples: use a value "
            f"from 1 to {n_samples:,}"
        )
    quotas: list[np.ndarray] = [np.array([target_size], dtype=np.int64)]
    for t in range(len(sizes) - 1, -1, -1):
        is_top = t == len(sizes) - 1
        parent = np.zeros(len(sizes[t]), dtype=np.int64) if is_top else parents[t]
        priorities = keyed_priorities(np.arange(len(sizes[t])), seed, Purpose.QUOTA_REMAINDER, t + 1)
        quotas.append(water_fill(sizes[t], parent, quotas[-1], priorities))
    return Quotas(tuple(sizes), tuple(quotas[:0:-1]))
