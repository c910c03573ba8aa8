"""Hierarchical sampling (section 3.4 of the paper): a balanced draw down the tree, with exact totals."""

from __future__ import annotations

from typing import Literal

import numpy as np

from curation_assets.algorithms.randomness import Purpose, keyed_priorities
from curation_assets.algorithms.rows import Rows
from curation_assets.algorithms.sampling.drawing import draw, draw_budget
from curation_assets.algorithms.sampling.ordering import group_sums
from curation_assets.algorithms.sampling.start_levels import tree_start_level
from curation_assets.algorithms.sampling.water_filling import Quotas, plan_quotas, water_fill
from curation_assets.algorithms.settings import DEFAULT_EVENNESS, Strategy
from curation_assets.algorithms.tree import ClusterTree

__all__ = ["Quotas", "draw", "draw_budget", "plan_quotas", "sample_balanced", "water_fill"]


def sample_balanced(
    tree: ClusterTree,
    target_size: int,
    *,
    balance_from: Literal["auto"] | int = "auto",
    evenness: float = DEFAULT_EVENNESS,
    weights: np.ndarray | None = None,
    strategy: Strategy = "random",
    seed: int = 0,
    rows: np.ndarray | Rows | None = None,
) -> np.ndarray:
    """Draw a balanced subset of the rows a tree was fitted on.

    Args:
        tree: the fitted hierarchy.
        target_size: rows to draw, at most the tree's; with `weights` the weight to draw.
        balance_from: level whose clusters share the target, 1 for the lowest, as many as the tree has for the top.
            'auto' measures every level and looks at the embeddings for it (`tree_start_level` shows the scores).
        evenness: a cluster's share is proportional to its size^(1 - evenness), and at most its size: 0 is proportional,
            1 is the paper's rule of equal shares.
        weights: integers (n,), >= 0: what each row counts, e.g. its tokens; None counts every row once. Rows of
            weight 0 are never drawn.
        strategy: inside a level-1 cluster, rows at 'random' or the 'closest' to the centroid.
        seed: decides random choices.
        rows: for 'auto', the embeddings that the tree was fitted on, float (n, d) or Rows. None takes `tree.rows`,
            which `fit_hierarchy` keeps.

    Returns:
        int64 (m,): row numbers, ascending, none twice. Without weights exactly target_size of them; with weights
        their sum is at most target_size and less than one row below it (see `draw_weighted`).

    Raises:
        ValueError: if target_size, balance_from or evenness is out of range, the strategy unknown, the weights are
            negative or too few, or 'auto' has no rows to look at.
    """
    level = tree.levels[0]
    clusters, n_rows = level.assignments, len(level.assignments)
    if strategy == "random":
        priorities = keyed_priorities(np.arange(n_rows), seed, Purpose.DRAW)
    elif strategy == "closest":
        priorities = level.distances
    else:
        raise ValueError(f"strategy must be 'random' or 'closest', got {strategy!r}")
    if weights is not None and len(weights) != n_rows:
        raise ValueError(
            f"weights has {len(weights):,} entries, but the tree holds {n_rows:,} rows: give one for each"
        )
    if balance_from == "auto":
        start = 1
        if len(tree.levels) > 1:
            start = tree_start_level(tree, target_size, weights=weights, seed=seed, rows=rows).level
    elif isinstance(balance_from, str):
        raise ValueError(f"balance_from must be 'auto' or the number of a level, got {balance_from!r}")
    else:
        start = balance_from
    if weights is None:
        sizes = group_sums(clusters, level.n_clusters)
        plan = plan_quotas(
            sizes, tree.parents(), target_size, seed=seed, balance_from=start, evenness=evenness
        )
        return draw(clusters, priorities, plan.quotas[0])
    chosen, _ = draw_budget(
        clusters, priorities, weights, target_size, level.n_clusters, tree.parents(),
        seed=seed, balance_from=start, evenness=evenness,
    )  # fmt: skip
    return chosen
