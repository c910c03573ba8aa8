"""One target over the pool's rows: what may be drawn, its size, and the draw from a level."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from curation_assets.errors import CurationError, PoolSpecError
from curation_assets.pools import TargetSettings
from curation_assets.steps.dataset.pool_index import PoolIndex

if TYPE_CHECKING:
    from curation_assets.algorithms.sampling.balanced import Quotas

SAMPLES, TOKENS = "samples", "tokens"


@dataclass(frozen=True, slots=True)
class TargetDraw:
    """What one target is drawn from. Beside the index it holds at most 4 bytes a row."""

    target: TargetSettings
    index: PoolIndex
    parents: Sequence[np.ndarray]
    """Per level but the top, int64 (k_t,): cluster of the level above."""
    n_clusters: int
    """Of level 1."""
    requested: int
    """Samples or tokens, by `unit`."""
    clusters: np.ndarray
    """int32 (n,): level-1 cluster of each row; of a target in samples, `n_clusters` for rows that may not be drawn."""
    tokens: np.ndarray | None
    """uint32 (n,), 0 for rows that may not be drawn; None for a target in samples."""

    @classmethod
    def of(
        cls, target: TargetSettings, index: PoolIndex, parents: Sequence[np.ndarray], n_clusters: int
    ) -> TargetDraw:
        """Resolve the size of a target.

        Raises:
            PoolSpecError: if the target is larger than the pool, or has fewer tokens than any sample.
            CurationError: if it is in tokens, and none are counted.
        """
        if target.tokens is None:
            clusters = index.clusters
            if not index.admissible.all():
                # Rows that may not be drawn get a cluster of their own, beyond the tree, with a quota of 0.
                clusters = np.where(index.admissible, clusters, clusters.dtype.type(n_clusters))
            size = target.resolve(int(index.admissible.sum()))
            return cls(target, index, parents, n_clusters, size, clusters, None)
        if index.n_tokens is None:
            raise CurationError(
                f"target '{target.name}' is in tokens, but none are counted: run token_counts first"
            )
        # Rows that may not be drawn get no tokens, so none of them is drawn.
        tokens = np.where(index.admissible, index.n_tokens, np.uint32(0))
        budget = target.resolve(int(tokens.sum(dtype=np.int64)))
        lightest = int(tokens.min(where=tokens > 0, initial=np.iinfo(np.uint32).max))
        if budget < lightest:
            raise PoolSpecError(
                f"targets.{target.name}.tokens is {budget:,}, but the shortest admissible sample has {lightest:,}: "
                f"choose at least that"
            )
        return cls(target, index, parents, n_clusters, budget, index.clusters, tokens)

    @property
    def unit(self) -> str:
        """What the target counts."""
        return SAMPLES if self.tokens is None else TOKENS

    @property
    def n_levels(self) -> int:
        """Levels of the tree."""
        return len(self.parents) + 1

    def sizes(self) -> np.ndarray:
        """What may be drawn of each level-1 cluster, int64 (k_1,), in the target's unit."""
        from curation_assets.algorithms.sampling.ordering import group_sums
        from curation_assets.algorithms.sampling.weighted_draw import spendable_weights

        if self.tokens is None:
            return group_sums(self.clusters, self.n_clusters + 1)[: self.n_clusters]
        return group_sums(self.clusters, self.n_clusters, spendable_weights(self.tokens, self.requested))

    def plan(self, level: int, evenness: float, seed: int) -> Quotas:
        """The quotas from a level.

        Args:
            level: whose clusters share the target.
            evenness: of the shares, 0 to 1.
            seed: decides what is rounded up.
        """
        from curation_assets.algorithms.sampling.balanced import plan_quotas

        sizes = self.sizes()
        amount = min(self.requested, int(sizes.sum()))
        return plan_quotas(sizes, self.parents, amount, seed=seed, balance_from=level, evenness=evenness)

    def draw(self, level: int, evenness: float, seed: int) -> tuple[np.ndarray, Quotas]:
        """Draw the target; arguments as of `plan`.

        Returns:
            int64 (m,) rows of the pool, ascending, and the plan.
        """
        from curation_assets.algorithms.sampling.balanced import draw, draw_budget

        priorities = self._priorities(seed)
        if self.tokens is not None:
            return draw_budget(
                self.clusters, priorities, self.tokens, self.requested, self.n_clusters, self.parents,
                seed=seed, balance_from=level, evenness=evenness,
            )  # fmt: skip
        plan = self.plan(level, evenness, seed)
        return draw(self.clusters, priorities, np.append(plan.quotas[0], 0)), plan

    def thinned(self, level: int, most: int, n_draws: int, seed: int) -> Iterator[np.ndarray]:
        """Small draws with equal shares from a level, enough to measure it; see `thinned_draws`.

        Args:
            level: whose clusters share the target.
            most: rows of a draw.
            n_draws: how many.
            seed: the same seed gives the same draws.

        Returns:
            Draw after draw, int64 (m,) rows of the pool, ascending.
        """
        from curation_assets.algorithms.sampling.start_levels import draw_priorities, thinned_draws

        clusters = self.clusters
        if self.tokens is not None:
            drawable = (self.tokens > 0) & (self.tokens <= self.requested)
            clusters = np.where(drawable, clusters, clusters.dtype.type(self.n_clusters))
        sizes = self.sizes()
        amount = min(self.requested, int(sizes.sum()))
        priorities = draw_priorities(self.index.id_hashes, seed)
        return thinned_draws(
            clusters, sizes, self.parents, amount, priorities,
            level=level, seed=seed, n_draws=n_draws, most_rows=most,
        )  # fmt: skip

    def _priorities(self, seed: int) -> np.ndarray:
        from curation_assets.algorithms.randomness import Purpose, keyed_priorities

        if self.target.strategy == "random":
            return keyed_priorities(self.index.id_hashes, seed, Purpose.DRAW)
        return self.index.distances
