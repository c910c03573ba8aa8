"""Which rows fill the quotas: so many of each level-1 cluster, or as many as a budget of weight holds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from curation_assets.algorithms.sampling.ordering import group_sums, run_starts, sorted_blocks
from curation_assets.algorithms.sampling.water_filling import Quotas, plan_quotas
from curation_assets.algorithms.sampling.weighted_draw import draw_weighted, spendable_weights


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
    sizes, spendable = budget_sizes(clusters, weights, budget, n_clusters)
    plan = plan_quotas(
        sizes, parents, min(budget, int(sizes.sum())), seed=seed, balance_from=balance_from, evenness=evenness
    )
    return draw_weighted(clusters, priorities, plan.quotas[0], spendable, parents), plan


def budget_sizes(
    clusters: np.ndarray, weights: np.ndarray, budget: int, n_clusters: int
) -> tuple[np.ndarray, np.ndarray]:
    """What a budget may take of each cluster: int64 (k,), and the weights it counts by (see `spendable_weights`).

    Raises:
        ValueError: if the budget is out of range, too small for any row, or a weight is negative.
    """
    spendable = spendable_weights(weights, budget)
    total, available = int(weights.sum(dtype=np.int64)), int(spendable.sum(dtype=np.int64))
    if not 1 <= budget <= total or not available:
        lightest = int(weights[weights > 0].min(initial=total))
        raise ValueError(
            f"the budget is {budget:,}, but the lightest row weighs {lightest:,} and all of them {total:,}: use a "
            f"value from {lightest:,} to {total:,}"
        )
    return group_sums(clusters, n_clusters, spendable), spendable
