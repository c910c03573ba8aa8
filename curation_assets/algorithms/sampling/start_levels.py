"""What the choice of the start level looks at: small draws with equal shares from each level of a tree."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from curation_assets.algorithms.measures.start_level import LevelChoice, choose_start_level
from curation_assets.algorithms.measures.yardstick import MOST_ROWS, Yardstick
from curation_assets.algorithms.randomness import Purpose, generator, keyed_priorities
from curation_assets.algorithms.rows import ArrayRows, Rows
from curation_assets.algorithms.sampling.drawing import budget_sizes, draw
from curation_assets.algorithms.sampling.ordering import group_sums
from curation_assets.algorithms.sampling.rounding import round_shares
from curation_assets.algorithms.sampling.water_filling import plan_quotas
from curation_assets.algorithms.settings import START_LEVEL_DRAWS, START_LEVEL_ROWS
from curation_assets.algorithms.tree import ClusterTree

_SAMPLE, _DRAW = 2, 3


def thinned_draws(
    clusters: np.ndarray,
    sizes: np.ndarray,
    parents: Sequence[np.ndarray],
    target_size: int,
    priorities: Callable[[int], np.ndarray],
    *,
    level: int,
    seed: int,
    n_draws: int = START_LEVEL_DRAWS,
    most_rows: int = START_LEVEL_ROWS,
) -> Iterator[np.ndarray]:
    """Draws with equal shares from a level, of which only some rows are taken: enough to measure it.

    Every row is as likely, relative to the others, as in the draw of the whole target. Rows of a cluster come in
    proportion to its expected quota; only the clusters that give some are looked into.

    Args:
        clusters: integers (n,): level-1 cluster of each row; k_1 for a row that may not be drawn.
        sizes: int64 (k_1,): what may be drawn of each cluster, in the unit of the target.
        parents: per level but the top, int64 (k_t,): cluster of the level above.
        target_size: what the whole draw takes, in the same unit.
        priorities: of the number of a draw: (n,) sortable, which rows of a cluster go first in it.
        level: whose clusters share the target, 1 for the lowest.
        seed: decides what is rounded up.
        n_draws: how many.
        most_rows: of a draw.

    Yields:
        int64 (m,): row numbers, ascending, at most `most_rows` and at least one.
    """
    n_clusters = len(sizes)
    n_rows = group_sums(clusters, n_clusters + 1)[:n_clusters]
    plan = plan_quotas(sizes, parents, target_size, seed=seed, balance_from=level)
    shares = plan.expected / np.maximum(sizes, 1) * n_rows
    n_drawn = max(1, min(most_rows, round(float(shares.sum()))))
    shares = np.minimum(shares * (n_drawn / shares.sum()), n_rows)
    for number in range(n_draws):
        siblings = [
            keyed_priorities(np.arange(len(of_level)), seed, Purpose.YARDSTICK, _DRAW, number, t)
            for t, of_level in enumerate(plan.sizes, start=1)
        ]
        start = generator(seed, Purpose.YARDSTICK, _DRAW, number).random()
        counts = round_shares(shares, n_rows, n_drawn, parents, siblings, start)
        yield draw(clusters, priorities(number), np.append(counts, 0))


def draw_priorities(keys: np.ndarray, seed: int) -> Callable[[int], np.ndarray]:
    """Priorities of rows in each of the draws of `thinned_draws`.

    Args:
        keys: integers (n,): hashes of ids, or row numbers.
        seed: of the pool.

    Returns:
        A function of the number of a draw, to uint64 (n,).
    """
    return lambda number: keyed_priorities(keys, seed, Purpose.YARDSTICK, _DRAW, number)


def yardstick_rows(keys: np.ndarray, seed: int) -> np.ndarray:
    """Rows that a yardstick is fitted on: at most 20,000, chosen and ordered by their keys alone.

    Args:
        keys: integers (n,): hashes of ids, or row numbers.
        seed: of the pool.

    Returns:
        int64 (m,): positions in `keys`.
    """
    priorities = keyed_priorities(keys, seed, Purpose.YARDSTICK, _SAMPLE)
    rows = np.arange(len(keys))
    if len(rows) > MOST_ROWS:
        rows = np.argpartition(priorities, MOST_ROWS)[:MOST_ROWS]
    return rows[np.argsort(priorities[rows])]


def tree_start_level(
    tree: ClusterTree,
    target_size: int,
    *,
    weights: np.ndarray | None = None,
    seed: int = 0,
    rows: np.ndarray | Rows | None = None,
) -> LevelChoice:
    """The level to balance a draw from, with what each level scored; see `choose_start_level`.

    For each level, five seeded draws with equal shares at the target size, of each at most 4,000 rows, are measured
    on a yardstick of at most 20,000 of the tree's rows. No labels are needed.

    Args:
        tree: the fitted hierarchy.
        target_size: rows of the draw; with `weights` its weight.
        weights: integers (n,), >= 0, as of `sample_balanced`.
        seed: the same seed gives the same choice.
        rows: raw embeddings that the tree was fitted on, float (n, d) or Rows; None takes those it keeps.

    Returns:
        The choice. Memory: 3 x 20,000 x d x 4 bytes and about 30 bytes a row.

    Raises:
        ValueError: if the tree keeps no rows and none are given, they are not those of the tree, or the target_size
            or weights do not fit them.
    """
    level = tree.levels[0]
    source = _rows_of(tree, rows)

    def prepared(numbers: np.ndarray) -> np.ndarray:
        block = source.take(numbers)
        if not np.isfinite(block).all():
            raise ValueError("rows hold values that are not finite: pass those that the tree was fitted on")
        return tree.preprocessing.apply(block)

    keys, clusters, n_clusters = np.arange(source.n_rows), level.assignments, level.n_clusters
    if weights is None:
        sizes = group_sums(clusters, n_clusters)
    else:
        sizes, spendable = budget_sizes(clusters, weights, target_size, n_clusters)
        clusters = np.where(spendable > 0, clusters, n_clusters)
        target_size = min(target_size, int(sizes.sum()))
    parents = tree.parents()
    plan = plan_quotas(sizes, parents, target_size, seed=seed)
    shares = [float(of_level.max() / of_level.sum()) for of_level in plan.sizes]
    priorities = draw_priorities(keys, seed)
    yardstick = Yardstick.fit(prepared(yardstick_rows(keys, seed)), metric=tree.metric, seed=seed)
    draws = {
        t: map(
            prepared,
            thinned_draws(clusters, sizes, parents, target_size, priorities, level=t, seed=seed),
        )
        for t in range(1, len(tree.levels) + 1)
    }
    return choose_start_level(yardstick, draws, largest_shares=shares)


def _rows_of(tree: ClusterTree, rows: np.ndarray | Rows | None) -> Rows:
    source = ArrayRows(rows) if isinstance(rows, np.ndarray) else rows or tree.rows
    if source is None:
        raise ValueError(
            "balance_from is 'auto', but the tree keeps no rows to choose a level by: pass rows, or a level"
        )
    shape = len(tree.levels[0].assignments), tree.levels[0].centroids.shape[1]
    if (source.n_rows, source.dimension) != shape:
        raise ValueError(
            f"rows has shape {(source.n_rows, source.dimension)}, but the tree was fitted on {shape}: pass those rows"
        )
    return source
