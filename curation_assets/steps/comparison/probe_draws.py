"""The subsets that are probed: of every target's size, from what is left without the test samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from curation_assets.pools import PoolSpec, TargetSettings
from curation_assets.steps.comparison.candidates import (
    FLAT,
    RANDOM,
    Candidates,
    Size,
    draw_seeds,
    level_name,
)

_RANDOM, _FLAT, _LEVEL = 20, 21, 22
"""Tell the draws of probes from those of the comparison."""


@dataclass(frozen=True, slots=True)
class ProbedSubset:
    """One kind of subset of a target's size."""

    target: TargetSettings
    subset: str
    level: int | None
    """At which quotas start; None for a baseline."""

    def name(self, number: int) -> str:
        """Of one of its draws, without spaces: `small/level_2/0`."""
        return f"{self.target.name}/{self.subset.replace(' ', '_')}/{number}"


@dataclass(frozen=True, slots=True)
class ProbeDraws:
    """Draws the subsets of all targets, as often as asked; the same arguments give the same rows."""

    candidates: Candidates
    """Without the test samples."""
    n_admissible: Size
    """With them: targets that are shares count from here."""
    n_admissible_tokens: Size | None
    n_draws: int
    seed: int

    @classmethod
    def of(cls, spec: PoolSpec, candidates: Candidates, held_out: np.ndarray) -> ProbeDraws:
        """Draws of a pool without some of its rows.

        Args:
            spec: the pool.
            candidates: all admissible rows.
            held_out: int64, the rows that no subset may hold.
        """
        in_tokens = any(target.tokens is not None for target in spec.targets)
        return cls(
            candidates.without(held_out),
            candidates.total(),
            candidates.total(in_tokens=True) if in_tokens else None,
            spec.probe.n_seeds if spec.probe else 1,
            spec.seed,
        )

    def subsets(self, targets: tuple[TargetSettings, ...]) -> Iterator[ProbedSubset]:
        """Every kind of subset, target by target."""
        for target in targets:
            yield ProbedSubset(target, RANDOM, None)
            yield ProbedSubset(target, FLAT, None)
            for level in range(1, self.candidates.n_levels + 1):
                yield ProbedSubset(target, level_name(level), level)

    def size(self, target: TargetSettings) -> Size:
        """The size of a target's subsets: its own, or all that is left if that is less."""
        in_tokens = target.tokens is not None
        total = self.n_admissible_tokens if in_tokens else self.n_admissible
        wanted = target.resolve(total.amount if total else 0)
        return Size(min(wanted, self.candidates.total(in_tokens=in_tokens).amount), in_tokens)

    def draw(self, probed: ProbedSubset, number: int) -> np.ndarray | None:
        """Rows of one draw, int64, ascending; None if flat k-means knows too few rows for it."""
        from curation_assets.algorithms.randomness import Purpose, generator

        target, size = probed.target, self.size(probed.target)
        # By its size, not by its place among the targets: the same subset is drawn whatever the others are.
        place = (size.amount, int(size.in_tokens))
        if probed.level is not None:
            seed = draw_seeds(self.seed, number + 1, _LEVEL, *place, probed.level)[number]
            return self.candidates.from_level(
                size, probed.level, seed, evenness=target.evenness, strategy=target.strategy
            )
        if probed.subset == FLAT:
            return self.candidates.flat(size, draw_seeds(self.seed, number + 1, _FLAT, *place)[number])
        rng = generator(self.seed, Purpose.COMPARISON, _RANDOM, *place, number)
        return self.candidates.random(size, rng)
