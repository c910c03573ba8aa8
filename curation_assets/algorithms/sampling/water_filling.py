"""Water-filling down the tree (section 3.4 of the paper): a fair share for every cluster, with exact totals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from curation_assets.algorithms.randomness import Purpose, generator, keyed_priorities
from curation_assets.algorithms.resampling import rank_in_group
from curation_assets.algorithms.sampling.ordering import group_sums, order_in_groups
from curation_assets.algorithms.sampling.rounding import round_shares
from curation_assets.algorithms.sampling.siblings import Siblings


@dataclass(frozen=True, slots=True)
class Quotas:
    """How much each cluster gives, level by level: in samples, or in the unit of a budget."""

    sizes: tuple[np.ndarray, ...]
    """int64 (k_t,) per level: admissible samples (or their weight) below each cluster."""
    quotas: tuple[np.ndarray, ...]
    """int64 (k_t,) per level: what to take; every level sums to the target size."""
    expected: np.ndarray
    """float64 (k_1,): the share of each level-1 cluster as a real number, at no level rounded; of this the quota is a
    rounding. It sums to the target size, but for the last digits, and is above 0 where the size is."""
    balance_from: int
    """The level whose clusters share the target size; those above it take what their children take."""

    def ran_out_at(self, parents: Sequence[np.ndarray]) -> np.ndarray:
        """The highest level at which nothing was left for a level-1 cluster, int8 (k_1,); 0 if it got a share.

        Only levels up to `balance_from` share anything out.
        """
        level_of = np.zeros(len(self.quotas[0]), dtype=np.int8)
        clusters = np.arange(len(self.quotas[0]))
        for t, quota in enumerate(self.quotas[: self.balance_from]):
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
    return _fill(Siblings.of(sizes, parents, len(parent_quotas)), parent_quotas, priorities)


def plan_quotas(
    level_1_sizes: np.ndarray,
    parents: Sequence[np.ndarray],
    target_size: int,
    *,
    seed: int,
    balance_from: int | None = None,
    evenness: float = 1.0,
) -> Quotas:
    """Water-fill a target size down the tree.

    The clusters of one level share the target size, their children share what each of them got, and so on. A share
    is proportional to size^(1 - evenness) and at most the size. With evenness 1, the paper's rule, shares are equal
    and are rounded at each level (see `water_fill`). With less they are rounded once, at level 1 (see `round_shares`).

    Args:
        level_1_sizes: int64 (k_1,): admissible samples of each level-1 cluster, or their weight.
        parents: per level but the top, int64 (k_t,): cluster of the level above.
        target_size: samples, or weight, to take in all.
        seed: decides what is rounded up.
        balance_from: level whose clusters share the target size, 1 for the lowest; None for the top. The quotas of
            levels above it are the sums of their children's.
        evenness: from 0, shares proportional to sizes, to 1, equal shares.

    Returns:
        Sizes and quotas of every level, level 1 first. Whole-array operations, about 100 bytes a cluster.

    Raises:
        ValueError: if target_size is not between 1 and what there is, or another value is out of range.
    """
    sizes = [np.asarray(level_1_sizes, dtype=np.int64)]
    for t, parent in enumerate(parents):
        # The last clusters of a level may have no child: the level above them says how many there are.
        n_above = len(parents[t + 1]) if t + 1 < len(parents) else int(parent.max()) + 1
        sizes.append(group_sums(parent, n_above, sizes[-1]))
    n_levels, n_samples = len(sizes), int(sizes[0].sum())
    first = n_levels if balance_from is None else balance_from
    _check(target_size, n_samples, first, n_levels, evenness)
    priorities = [
        keyed_priorities(np.arange(len(level)), seed, Purpose.QUOTA_REMAINDER, t)
        for t, level in enumerate(sizes, start=1)
    ]
    quotas = [np.array([target_size], dtype=np.int64)]
    shares = quotas[0].astype(np.float64)
    for t in range(first - 1, -1, -1):
        # The clusters that share the target size are siblings, whatever lies above them.
        above = np.zeros(len(sizes[t]), dtype=np.int64) if t == first - 1 else parents[t]
        siblings = Siblings.of(sizes[t], above, len(shares))
        shares = siblings.shares(shares, evenness)
        if evenness == 1:
            quotas.append(_fill(siblings, quotas[-1], priorities[t]))
    if evenness == 1:
        quotas = quotas[:0:-1]
    else:
        start = generator(seed, Purpose.QUOTA_REMAINDER).random()
        quotas = [round_shares(shares, sizes[0], target_size, parents, priorities, start)]
    for t in range(len(quotas), n_levels):
        quotas.append(group_sums(parents[t - 1], len(sizes[t]), quotas[-1]))
    return Quotas(tuple(sizes), tuple(quotas), shares, first)


def _fill(siblings: Siblings, parent_quotas: np.ndarray, priorities: np.ndarray) -> np.ndarray:
    """See `water_fill`."""
    available = siblings.available
    if (short := np.flatnonzero(parent_quotas > available)).size:
        parent = int(short[0])
        raise ValueError(
            f"the quota of cluster {parent} is {int(parent_quotas[parent]):,}, but only "
            f"{int(available[parent]):,} samples lie below it"
        )
    order, sizes, parents = siblings.order, siblings.sizes, siblings.parents
    # With sizes s below a parent of quota q, child i of m gives all it has if
    # s_0 + ... + s_(i-1) + s_i (m - i) <= q: the quota reaches even if all later ones give as much.
    positions = np.arange(len(order))
    gives_all = (
        siblings.before() + sizes * (siblings.starts[1:][parents] - positions) <= parent_quotas[parents]
    )
    # The others share what is left: c = (q - taken) // n_cut each, and one more where the division leaves a remainder.
    first_cut = siblings.first_cut(gives_all)
    taken = siblings.size_ends[first_cut] - siblings.size_ends[siblings.starts[:-1]]
    n_cut = siblings.starts[1:] - first_cut
    cut, left_over = np.divmod(parent_quotas - taken, np.maximum(n_cut, 1))
    result = np.empty_like(sizes)
    result[order] = np.where(gives_all, sizes, cut[parents])
    # Children above the cut by priority: the first (q - taken) mod n_cut of each parent get one more.
    above_cut = order[~gives_all]
    by_priority = above_cut[order_in_groups(parents[~gives_all], priorities[above_cut])]
    lucky = rank_in_group(n_cut) < np.repeat(left_over, n_cut)
    result[by_priority[lucky]] += 1
    return result


def _check(target_size: int, n_samples: int, balance_from: int, n_levels: int, evenness: float) -> None:
    if not 1 <= target_size <= n_samples:
        raise ValueError(
            f"target_size is {target_size:,}, but the tree holds {n_samples:,} admissible samples: use a value "
            f"from 1 to {n_samples:,}"
        )
    if not 1 <= balance_from <= n_levels:
        raise ValueError(
            f"balance_from is {balance_from}, but the tree has {n_levels} levels: use one from 1 to {n_levels}"
        )
    if not 0 <= evenness <= 1:
        raise ValueError(f"evenness is {evenness}: use a value from 0 (proportional) to 1 (equal shares)")
