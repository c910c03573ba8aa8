"""The level of a tree to balance from, chosen without labels.

Equal shares for the clusters of a level give a subset; a good level gives one that is diverse in itself (Vendi score)
and even over the pool (an independent flat partition). Either alone errs: the Vendi score likes outliers, the
partition likes a random subset. docs/design/start_level.md has what was measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from curation_assets.algorithms.measures.yardstick import DIVERSITY, Yardstick, rounded
from curation_assets.algorithms.settings import DEFAULT_MAX_SHARE

DECIMALS = 4
"""Of scores and their noise; compared as rounded, so that every machine chooses alike."""


@dataclass(frozen=True, slots=True)
class LevelScore:
    """What equal shares from one level give."""

    level: int
    """From 1, the lowest."""
    vendi: float
    """Geometric mean over the draws."""
    effective_partition: float
    """Geometric mean over the draws."""
    score: float
    """log vendi + log effective_partition, mean over the draws, to 4 decimals."""
    noise: float
    """Standard deviation of the score from draw to draw, to 4 decimals; 0 for a single draw."""
    collapsed: bool
    """Whether one cluster holds more than `max_share` of the pool."""


@dataclass(frozen=True, slots=True)
class LevelChoice:
    """The level to balance from, and the scores that it was chosen by."""

    level: int
    scores: tuple[LevelScore, ...]
    """By level, ascending."""


def choose_start_level(
    yardstick: Yardstick,
    draws: Mapping[int, Iterable[np.ndarray]],
    *,
    largest_shares: Sequence[float],
    max_share: float | Sequence[float] = DEFAULT_MAX_SHARE,
) -> LevelChoice:
    """Choose the level whose equal shares give the best subset.

    The best is the highest score among levels that have not collapsed (among all, if all have). A level above it that
    is worse by no more than the noise of either is taken instead: of levels that do as well the highest one.

    Args:
        yardstick: of the pool.
        draws: for each level to choose among, embeddings float (m, d) of the rows that some seeded draws of one size
            give with equal shares (evenness 1). Taken one at a time: a generator keeps memory to one draw.
        largest_shares: of every level of the tree, the share of the pool in its largest cluster, 0 to 1.
        max_share: a level with a larger cluster has collapsed; one share, or one for every level of the tree.

    Returns:
        The choice; the same for the same draws on any machine.

    Raises:
        ValueError: if no level is given, one is not in the tree, or a level has no draws.
    """
    if not draws:
        raise ValueError("draws is empty: give the draws of at least one level")
    allowed = [max_share] * len(largest_shares) if isinstance(max_share, int | float) else max_share
    collapsed = [share > most for share, most in zip(largest_shares, allowed, strict=True)]
    if unknown := [level for level in draws if not 1 <= level <= len(collapsed)]:
        raise ValueError(
            f"draws names level {unknown[0]}, but largest_shares has {len(collapsed)} levels: levels go from 1"
        )
    scores = tuple(
        _score(level, draws[level], yardstick, collapsed=collapsed[level - 1]) for level in sorted(draws)
    )
    candidates = [score for score in scores if not score.collapsed] or list(scores)
    best = max(candidates, key=lambda score: (score.score, score.level))
    ties = [score.level for score in candidates if _is_tied(best, score)]
    return LevelChoice(max(ties), scores)


def _is_tied(best: LevelScore, other: LevelScore) -> bool:
    # Rounded again: the difference of two decimals is not one.
    return round(best.score - other.score, DECIMALS) <= max(best.noise, other.noise)


def _score(level: int, draws: Iterable[np.ndarray], yardstick: Yardstick, *, collapsed: bool) -> LevelScore:
    measured = [yardstick.measure(draw, DIVERSITY) for draw in draws]
    if not measured or not all(m.vendi and m.effective_partition for m in measured):
        raise ValueError(f"level {level} has no draws, or an empty one: give at least one with rows")
    vendi, partition = (np.log([getattr(m, name) for m in measured]) for name in DIVERSITY)
    totals = vendi + partition
    return LevelScore(
        level=level,
        vendi=rounded(math.exp(vendi.mean())),
        effective_partition=rounded(math.exp(partition.mean())),
        score=round(float(totals.mean()), DECIMALS),
        noise=round(float(totals.std(ddof=1)), DECIMALS) if len(totals) > 1 else 0.0,
        collapsed=bool(collapsed),
    )
