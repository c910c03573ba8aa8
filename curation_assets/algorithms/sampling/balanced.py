"""Hierarchical sampling (section 3.4 of the paper): an even draw down the tree, with exact totals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from curation_assets.algorithms.randomness import Purpose, keyed_priorities
from curation_assets.algorithms.sampling.ordering import group_sums, run_starts, sorted_blocks
from curation_assets.algorithms.sampling.water_filling import Quotas, plan_quotas, water_fill
from curation_assets.algorithms.sampling.weighted_draw import draw_weighted, spendable_weights
from curation_assets.algorithms.settings import Strategy
from curation_assets.algorithms.tree import ClusterTree

__all__ = ["Quotas", "draw", "draw_budget", "plan_quotas", "sample_balanced", "water_fill"]


def draw(clusters: np.ndarray, priorities: np.ndarray, quotas: np.ndarray) -> np.ndarray:
    """Take each cluster's quota of rows, smallest priority first.

    Args:
        clusters: int64 (n,): level-1 cluster of each row.
        priorities: (n,) sortable; equal ones go by row number.
        quotas: int64 (k,).

    Returns:
        int64 (m,): row numbers, ascending. Only rows of clusters that give some but not all are sorted, block by
        block. Peak memory: 5 bytes a row and 8 a row drawn.
    """
    sizes = group_sums(clusters, len(quotas))
    chosen = (quotas >= sizes)[clusters]
    contested = np.where((quotas > 0) & (quotas < sizes), sizes, 0)
    for rows in sorted_blocks(clusters, [priorities], contested):
        inside = clusters[rows]
        starts = run_starts(inside)
        ranks = np.arange(len(rows)) - np.repeat(starts, np.diff(starts, append=len(rows)))
        chosen[rows[ranks < quotas[inside]]] = True
    return np.flatnonzero(chosen)


def draw_budget(
    clusters: np.ndarray,
    priorities: np.ndarray,
    weights: np.ndarray,
    budget: int,
    n_clusters: int,
    parents: Sequence[np.ndarray],
    *,
    seed: int,
    balance_from: int | None = None,
    evenness: float = 1.0,
) -> tuple[np.ndarray, Quotas]:
    """Water-fill a budget of weight down the tree and draw the rows that use it up.

    Args:
        clusters: int64 (n,): level-1 cluster of each row.
        priorities: (n,) sortable: which rows of a cluster go first.
        weights: integers (n,), >= 0; rows of weight 0 are never drawn.
        budget: at most the sum of the weights. Rows that alone exceed it are left out of the plan.
        n_clusters: of level 1.
        parents: per level but the top, int64 (k_t,): cluster of the level above.
        seed: decides remainders.
        balance_from: see `plan_quotas`.
        evenness: see `plan_quotas`.

    Returns:
        int64 (m,) row numbers, ascending (see `draw_weighted` for their sum), and sizes and quotas in weight.

    Raises:
        ValueError: if the budget is out of range, too small for any row, or a weight is negative; see `plan_quotas`.
    """
    spendable = spendable_weights(weights, budget)
    total, available = int(weights.sum(dtype=np.int64)), int(spendable.sum(dtype=np.int64))
    if not 1 <= budget <= total or not available:
        lightest = int(weights[weights > 0].min(initial=total))
        raise ValueError(
            f"the budget is {budget:,}, but the lightest row weighs {lightest:,} and all of them {total:,}: use a "
            f"value from {lightest:,} to {total:,}"
        )
    sizes = group_sums(clusters, n_clusters, spendable)
    plan = plan_quotas(
        sizes, parents, min(budget, available), seed=seed, balance_from=balance_from, evenness=evenness
    )
    return draw_weighted(clusters, priorities, plan.quotas[0], spendable, parents), plan


def sample_balanced(
    tree: ClusterTree,
    target_size: int,
    *,
    weights: np.ndarray | None = None,
    strategy: Strategy = "random",
    seed: int = 0,
) -> np.ndarray:
    """Draw a balanced subset of the rows a tree was fitted on.

    Args:
        tree: the fitted hierarchy.
        target_size: rows to draw, at most the tree's; with `weights` the weight to draw.
        weights: integers (n,), >= 0: what each row counts, e.g. its tokens; None counts every row once. Rows of
            weight 0 are never drawn.
        strategy: inside a level-1 cluster, rows at 'random' or the 'closest' to the centroid.
        seed: decides random choices.

    Returns:
        int64 (m,): row numbers, ascending, none twice. Without weights exactly target_size of them; with weights
        their sum is at most target_size and less than one row below it (see `draw_weighted`).

    Raises:
        ValueError: if target_size is out of range, the strategy unknown, or the weights are negative or too few.
    """
    level = tree.levels[0]
    clusters, n_rows = level.assignments, len(level.assignments)
    if strategy == "random":
        priorities = keyed_priorities(np.arange(n_rows), seed, Purpose.DRAW)
    elif strategy == "closest":
        priorities = level.distances
    else:
        raise ValueError(f"strategy must be 'random' or 'closest', got {strategy!r}")
    if weights is None:
        sizes = group_sums(clusters, level.n_clusters)
        return draw(
            clusters, priorities, plan_quotas(sizes, tree.parents(), target_size, seed=seed).quotas[0]
        )
    if len(weights) != n_rows:
        raise ValueError(
            f"weights has {len(weights):,} entries, but the tree holds {n_rows:,} rows: give one for each"
        )
    rows, _ = draw_budget(
        clusters, priorities, weights, target_size, level.n_clusters, tree.parents(), seed=seed
    )
    return rows
