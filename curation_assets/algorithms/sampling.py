"""Hierarchical sampling (section 3.4 of the paper): an even draw down the tree, with exact totals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from curation_assets.algorithms.randomness import Purpose, keyed_priorities
from curation_assets.algorithms.resampling import Strategy, rank_in_group
from curation_assets.algorithms.tree import ClusterTree


@dataclass(frozen=True, slots=True)
class Quotas:
    """How many samples each cluster gives, level by level."""

    sizes: tuple[np.ndarray, ...]
    """int64 (k_t,) per level: admissible samples below each cluster."""
    quotas: tuple[np.ndarray, ...]
    """int64 (k_t,) per level: samples to take; every level sums to the target size."""


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
    order = np.lexsort((sizes, parents))
    sorted_sizes, sorted_parents = sizes[order], parents[order]
    n_children = np.bincount(parents, minlength=len(parent_quotas))
    available = np.zeros(len(parent_quotas), dtype=np.int64)
    np.add.at(available, parents, sizes)
    if (short := np.flatnonzero(parent_quotas > available)).size:
        parent = int(short[0])
        raise ValueError(
            f"the quota of cluster {parent} is {int(parent_quotas[parent]):,}, but only "
            f"{int(available[parent]):,} samples lie below it"
        )
    position = rank_in_group(n_children)
    quota = parent_quotas[sorted_parents]
    before = np.cumsum(sorted_sizes) - sorted_sizes
    starts = np.cumsum(n_children) - n_children
    filled = starts < len(before)
    base = np.zeros(len(parent_quotas), dtype=np.int64)
    base[filled] = before[starts[filled]]
    before -= base[sorted_parents]
    open_children = n_children[sorted_parents] - position
    gives_all = before + sorted_sizes * open_children <= quota
    n_full = np.bincount(sorted_parents[gives_all], minlength=len(parent_quotas))
    taken = np.zeros(len(parent_quotas), dtype=np.int64)
    np.add.at(taken, sorted_parents[gives_all], sorted_sizes[gives_all])
    n_cut = n_children - n_full
    cut, left_over = np.divmod(parent_quotas - taken, np.maximum(n_cut, 1))
    result = np.empty_like(sizes)
    result[order] = np.where(gives_all, sorted_sizes, cut[sorted_parents])
    above_cut = order[~gives_all]
    by_priority = above_cut[np.lexsort((priorities[above_cut], parents[above_cut]))]
    lucky = rank_in_group(n_cut) < left_over[parents[by_priority]]
    result[by_priority[lucky]] += 1
    return result


def plan_quotas(
    level_1_sizes: np.ndarray, parents: Sequence[np.ndarray], target_size: int, *, seed: int
) -> Quotas:
    """Water-fill a target size down the tree.

    Args:
        level_1_sizes: int64 (k_1,): admissible samples of each level-1 cluster.
        parents: per level but the top, int64 (k_t,): cluster of the level above.
        target_size: samples to take in all.
        seed: decides remainders.

    Returns:
        Sizes and quotas of every level, level 1 first. Whole-array operations, about 60 bytes a cluster.

    Raises:
        ValueError: if target_size is not between 1 and the samples there are.
    """
    sizes = [np.asarray(level_1_sizes, dtype=np.int64)]
    for t, parent in enumerate(parents):
        # The last clusters of a level may have no child: the level above them says how many there are.
        n_above = len(parents[t + 1]) if t + 1 < len(parents) else int(parent.max()) + 1
        above = np.zeros(n_above, dtype=np.int64)
        np.add.at(above, parent, sizes[-1])
        sizes.append(above)
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


def draw(clusters: np.ndarray, priorities: np.ndarray, quotas: np.ndarray) -> np.ndarray:
    """Take each cluster's quota of rows, smallest priority first.

    Args:
        clusters: int64 (n,): level-1 cluster of each row.
        priorities: (n,) sortable; equal ones go by row number.
        quotas: int64 (k,).

    Returns:
        int64 (m,): row numbers, ascending. Only rows of clusters that give some but not all are sorted.
    """
    sizes = np.bincount(clusters, minlength=len(quotas))
    chosen = (quotas >= sizes)[clusters]
    contested = np.flatnonzero(((quotas > 0) & (quotas < sizes))[clusters])
    inside = clusters[contested]
    order = np.lexsort((priorities[contested], inside))
    ranks = rank_in_group(np.where((quotas > 0) & (quotas < sizes), sizes, 0))
    chosen[contested[order[ranks < quotas[inside[order]]]]] = True
    return np.flatnonzero(chosen)


def sample_balanced(
    tree: ClusterTree, target_size: int, *, strategy: Strategy = "random", seed: int = 0
) -> np.ndarray:
    """Draw a balanced subset of the rows a tree was fitted on.

    Args:
        tree: the fitted hierarchy.
        target_size: rows to draw, at most the tree's.
        strategy: inside a level-1 cluster, rows at 'random' or the 'closest' to the centroid.
        seed: decides random choices.

    Returns:
        int64 (target_size,): row numbers, ascending, none twice.

    Raises:
        ValueError: if target_size is out of range or the strategy unknown.
    """
    level = tree.levels[0]
    sizes = np.bincount(level.assignments, minlength=level.n_clusters)
    quotas = plan_quotas(sizes, tree.parents(), target_size, seed=seed).quotas[0]
    if strategy == "random":
        priorities = keyed_priorities(np.arange(len(level.assignments)), seed, Purpose.DRAW)
    elif strategy == "closest":
        priorities = level.distances
    else:
        raise ValueError(f"strategy must be 'random' or 'closest', got {strategy!r}")
    return draw(level.assignments, priorities, quotas)
