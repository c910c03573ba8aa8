"""The subsets that are compared: random, flat k-means, every start level of the tree, all of one size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from curation_assets.algorithms.settings import Strategy
from curation_assets.pools import PoolSpec, TargetSettings
from curation_assets.steps.comparison.flat import read_flat_clusters
from curation_assets.steps.dataset.pool_index import PoolIndex
from curation_assets.steps.dataset.shard_tables import shard_tables
from curation_assets.storage.clusters import distinct_levels, read_parents
from curation_assets.storage.pool_storage import PoolStorage

RANDOM, FLAT, PAPER, CHOSEN = "random", "flat k-means", "paper", "chosen"
"""Names of subsets in the tables; those of start levels come from `level_name`."""


def level_name(level: int) -> str:
    """Name of the subset that is balanced from a level."""
    return f"level_{level}"


@dataclass(frozen=True, slots=True)
class Size:
    """How much a subset holds: samples, or tokens."""

    amount: int
    in_tokens: bool = False


@dataclass(frozen=True, slots=True)
class Candidates:
    """Draws subsets of a pool; every method returns rows in canonical order, int64, ascending, none twice.

    Memory beside the index of the pool: a byte a row; 20 more while it draws from clusters, 8 for a random draw.
    """

    index: PoolIndex
    parents: Sequence[np.ndarray]
    """Per level but the top, int64 (k_t,): cluster of the level above."""
    n_clusters: int
    """Of level 1."""
    flat_clusters: np.ndarray
    """int32 (n,): cluster of each row in flat k-means, -1 if it is not known."""
    n_flat_clusters: int
    available: np.ndarray
    """bool (n,): rows that a subset may hold."""

    @classmethod
    def read(cls, spec: PoolSpec, storage: PoolStorage) -> Candidates:
        """Collect the columns of all shards; every admissible row is available."""
        index = PoolIndex.read(shard_tables(spec, storage))
        flat, n_flat = read_flat_clusters(spec, storage, index)
        n_clusters = len(storage.clusters(1).centroids.read())
        parents = read_parents(storage, spec.n_levels)
        return cls(index, parents, n_clusters, flat, n_flat, index.admissible)

    def without(self, rows: np.ndarray) -> Candidates:
        """The same pool without some rows, such as those that a probe is tested on."""
        available = self.available.copy()
        available[rows] = False
        return replace(self, available=available)

    @property
    def n_levels(self) -> int:
        """Levels of the tree."""
        return len(self.parents) + 1

    @property
    def start_levels(self) -> list[int]:
        """Levels that differ from the one below."""
        return distinct_levels(self.n_clusters, self.parents)

    def rows(self) -> np.ndarray:
        """Every available row."""
        return np.flatnonzero(self.available)

    def total(self, *, in_tokens: bool = False) -> Size:
        """All that is available."""
        if not in_tokens:
            return Size(int(np.count_nonzero(self.available)))
        return Size(int(self._tokens().sum(where=self.available, dtype=np.int64)), in_tokens=True)

    def sample(self, n_rows: int, seed: int) -> np.ndarray:
        """At most `n_rows` available rows, the same whatever the order of the shards, ascending."""
        from curation_assets.algorithms.randomness import Purpose, keyed_priorities

        rows = self.rows()
        if len(rows) <= n_rows:
            return rows
        priorities = keyed_priorities(self.index.id_hashes[rows], seed, Purpose.COMPARISON)
        return np.sort(rows[np.argpartition(priorities, n_rows)[:n_rows]])

    def random(self, size: Size, rng: np.random.Generator) -> np.ndarray:
        """A uniform draw of samples; for tokens, samples in random order until the next would exceed the budget."""
        rows = self.rows()
        if not size.in_tokens:
            return np.sort(rows[rng.choice(len(rows), size.amount, replace=False, shuffle=False)])
        tokens = self._tokens()
        order = rng.permutation(rows[(tokens[rows] > 0) & (tokens[rows] <= size.amount)])
        n_taken = np.searchsorted(np.cumsum(tokens[order], dtype=np.int64), size.amount, side="right")
        return np.sort(order[:n_taken])

    def flat(self, size: Size, seed: int) -> np.ndarray | None:
        """The same number of samples from every cluster of flat k-means; None if it knows too few rows for that."""
        known = self.flat_clusters >= 0
        if known.all():
            return self._draw(self.flat_clusters, self.n_flat_clusters, (), size, seed, self.available)
        available = self.available & known
        if replace(self, available=available).total(in_tokens=size.in_tokens).amount < size.amount:
            return None
        return self._draw(self.flat_clusters, self.n_flat_clusters, (), size, seed, available)

    def from_level(
        self, size: Size, level: int, seed: int, *, evenness: float, strategy: Strategy = "random"
    ) -> np.ndarray:
        """The draw of `selection` with quotas that start at a level; level `n_levels`, evenness 1: the paper's rule.

        With the seed, the level, the evenness and the strategy of a target it is the target's own draw.
        """
        return self._draw(
            self.index.clusters,
            self.n_clusters,
            self.parents,
            size,
            seed,
            self.available,
            level=level,
            evenness=evenness,
            strategy=strategy,
        )

    def _draw(
        self,
        clusters: np.ndarray,
        n_clusters: int,
        parents: Sequence[np.ndarray],
        size: Size,
        seed: int,
        available: np.ndarray,
        *,
        level: int | None = None,
        evenness: float = 1.0,
        strategy: Strategy = "random",
    ) -> np.ndarray:
        from curation_assets.algorithms.randomness import Purpose, keyed_priorities
        from curation_assets.algorithms.sampling.balanced import draw, draw_budget, plan_quotas
        from curation_assets.algorithms.sampling.ordering import group_sums

        if strategy == "random":
            priorities = keyed_priorities(self.index.id_hashes, seed, Purpose.DRAW)
        else:
            priorities = self.index.distances
        # Rows that may not be drawn get a cluster of their own, beyond the tree, or no tokens.
        clusters = np.where(available, clusters, clusters.dtype.type(n_clusters))
        if size.in_tokens:
            tokens = np.where(available, self._tokens(), np.uint32(0))
            clusters = np.where(available, clusters, clusters.dtype.type(0))
            rows, _ = draw_budget(
                clusters,
                priorities,
                tokens,
                size.amount,
                n_clusters,
                parents,
                seed=seed,
                balance_from=level,
                evenness=evenness,
            )
            return rows
        sizes = group_sums(clusters, n_clusters + 1)[:n_clusters]
        plan = plan_quotas(sizes, parents, size.amount, seed=seed, balance_from=level, evenness=evenness)
        return draw(clusters, priorities, np.append(plan.quotas[0], 0))

    def _tokens(self) -> np.ndarray:
        if self.index.n_tokens is None:
            raise ValueError("a size in tokens needs a pool whose tokens are counted")
        return self.index.n_tokens


@dataclass(frozen=True, slots=True)
class ChosenDraw:
    """How `selection` drew a target, and the rows it drew."""

    target: TargetSettings
    size: Size
    level: int
    """At which its quotas start."""
    evenness: float
    rows: np.ndarray
    """int64, ascending."""

    @classmethod
    def read(cls, storage: PoolStorage, target: TargetSettings, index: PoolIndex) -> ChosenDraw:
        """The draw of one target, from the stored selection."""
        selection = storage.selection()
        summary = selection.require_facts().summary
        mine = selection.selected.part("target", target.name, "shard", "row")
        starts = dict(zip(index.shards, index.starts.tolist(), strict=False))
        offsets = mine["shard"].replace_strict(starts, return_dtype=pl.Int64).to_numpy()
        return cls(
            target,
            Size(summary["requested"][target.name], in_tokens=target.tokens is not None),
            summary["balance_from"][target.name],
            summary["evenness"][target.name],
            np.sort(offsets + mine["row"].to_numpy()),
        )

    def redraw(self, candidates: Candidates, seed: int, *, size: Size | None = None) -> np.ndarray:
        """The same rule with another seed; with another size, or from other available rows, if they are given."""
        return candidates.from_level(
            size or self.size,
            self.level,
            seed,
            evenness=self.evenness,
            strategy=self.target.strategy,
        )


def draw_seeds(seed: int, n_draws: int, *coordinates: int) -> list[int]:
    """Seeds for further draws, none of them the seed that a target is drawn with.

    Args:
        seed: of the pool or the target.
        n_draws: how many.
        coordinates: tell two uses apart, such as target and subset.
    """
    from curation_assets.algorithms.randomness import Purpose, generator

    found = generator(seed, Purpose.COMPARISON, *coordinates).integers(2**31, 2**32, n_draws)
    return [int(value) for value in found]
