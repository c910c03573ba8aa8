"""The level whose clusters share a target: named in the pool file, chosen without labels, or taken from the probe."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from curation_assets.algorithms.settings import START_LEVEL_DRAWS, START_LEVEL_ROWS
from curation_assets.errors import CurationError
from curation_assets.pools import PoolSpec, TargetSettings
from curation_assets.steps.dataset.pool_index import PoolIndex
from curation_assets.steps.dataset.target_draw import TargetDraw
from curation_assets.storage.clusters import distinct_levels, read_preprocessing
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.tables import Probe

if TYPE_CHECKING:
    from curation_assets.algorithms.measures.start_level import LevelChoice
    from curation_assets.algorithms.measures.yardstick import Yardstick
    from curation_assets.algorithms.preprocessing import PreparedRows

BY_NAME, BY_MEASURES, BY_PROBE = "name", "measures", "probe"
_DIGITS = 6
"""Of figures of probes, which are compared as rounded. A command may return figures of any magnitude."""


@dataclass(frozen=True, slots=True)
class StartLevel:
    """The level a target is balanced from, and how it was found."""

    level: int
    chosen_by: str
    """`BY_NAME`, `BY_MEASURES` or `BY_PROBE`."""
    figures: tuple[Mapping[str, Any], ...] = ()
    """Of each measured level: the columns of `Selection.start_levels` between target and chosen."""


@dataclass
class StartLevels:
    """Finds the start level of every target; what targets have in common is measured once.

    Choices depend on the tree, the admissible rows, the pool's seed and the size of the target. The seed, strategy
    and evenness of a target do not count, so another draw starts from the same level.

    Args:
        spec: the pool.
        storage: its outputs up to the tree.
        index: its rows.
        log: takes a line for each choice.
        n_draws: measured of each level.
        n_rows: measured of a draw, at most.
    """

    spec: PoolSpec
    storage: PoolStorage
    index: PoolIndex
    log: Callable[[str], None]
    n_draws: int = START_LEVEL_DRAWS
    n_rows: int = START_LEVEL_ROWS
    _choices: dict[tuple[str, int], LevelChoice] = field(default_factory=dict)

    def of(self, draw: TargetDraw) -> StartLevel:
        """The start level of one target.

        Raises:
            CurationError: if the probe has no figures of the target.
        """
        target = draw.target
        if target.named_level is not None:
            return StartLevel(target.named_level, BY_NAME)
        if target.asks_probe:
            figure = self.spec.probe.figure if self.spec.probe else None
            level = probed_level(probed_figures(self.storage.probe(), figure), target)
            self.log(f"target '{target.name}' is balanced from level {level}: the probe learns most from it")
            return StartLevel(level, BY_PROBE)
        levels = distinct_levels(draw.n_clusters, draw.parents)
        if len(levels) == 1:
            return StartLevel(1, BY_MEASURES)
        key = (draw.unit, draw.requested)
        if key not in self._choices:
            self._choices[key] = self._measure(draw, levels)
        choice = self._choices[key]
        scores = ", ".join(f"{score.score:.3f} for level {score.level}" for score in choice.scores)
        self.log(f"target '{target.name}' is balanced from level {choice.level}: the scores are {scores}")
        return StartLevel(choice.level, BY_MEASURES, tuple(asdict(score) for score in choice.scores))

    def _measure(self, draw: TargetDraw, levels: Sequence[int]) -> LevelChoice:
        from curation_assets.algorithms.balance import allowed_share
        from curation_assets.algorithms.measures.start_level import choose_start_level

        sizes = draw.plan(levels[0], 1.0, self.spec.seed).sizes
        return choose_start_level(
            self._yardstick,
            {level: self._blocks(draw, level) for level in levels},
            largest_shares=[float(of_level.max() / of_level.sum()) for of_level in sizes],
            max_share=[allowed_share(len(of_level), self.spec.max_share) for of_level in sizes],
        )

    def _blocks(self, draw: TargetDraw, level: int) -> Iterator[np.ndarray]:
        """Prepared embeddings of some draws with equal shares from a level, one at a time."""
        for rows in draw.thinned(level, self.n_rows, self.n_draws, self.spec.seed):
            yield self._rows.take(rows)

    @cached_property
    def _rows(self) -> PreparedRows:
        """The pool's rows as the tree sees them; the facts of all shards are read once."""
        from curation_assets.algorithms.preprocessing import PreparedRows

        return PreparedRows(self.storage.embeddings(), read_preprocessing(self.storage.clusters(1)))

    @cached_property
    def _yardstick(self) -> Yardstick:
        return fit_yardstick(self._rows, self.index, self.spec.seed)


def fit_yardstick(pool_rows: PreparedRows, index: PoolIndex, seed: int) -> Yardstick:
    """The yardstick of a pool, on at most 20,000 admissible rows, read shard by shard.

    Hashes of ids choose the rows and decide their order, so shards do not matter.
    """
    from curation_assets.algorithms.measures.yardstick import Yardstick
    from curation_assets.algorithms.sampling.start_levels import yardstick_rows

    rows = np.flatnonzero(index.admissible)
    rows = rows[yardstick_rows(index.id_hashes[rows], seed)]
    return Yardstick.fit(pool_rows.take(rows), metric=pool_rows.preprocessing.metric, seed=seed)


def probed_figures(probe: Probe, figure: str | None) -> pl.DataFrame:
    """What the probe's subsets are ranked by: a figure of its command, or the accuracy of both probes if None.

    Raises:
        CurationError: if the command did not return the figure.
    """
    if figure is None:
        return probe.accuracy.read()
    returned = probe.figures.read()
    found = returned.filter(pl.col("figure") == figure)
    if found.is_empty():
        names = ", ".join(returned["figure"].unique().sort().to_list()) or "none"
        raise CurationError(
            f"probe.figure is '{figure}', but probe.command returned these figures: {names}. Name one of them, or null "
            f"to choose by both probes"
        )
    return found


def probed_level(accuracy: pl.DataFrame, target: TargetSettings) -> int:
    """The level whose subset has the highest figures: the mean of both probes, or the command's figure.

    A higher level that is worse by no more than the spread of either is taken instead.

    Args:
        accuracy: as the asset `probe` stores it.
        target: the target whose subsets were probed.

    Raises:
        CurationError: if no level was probed for the target.
    """
    of_level = pl.col("subset") == pl.format("level_{}", "level")
    levels = (
        accuracy.filter((pl.col("target") == target.name) & of_level)
        .group_by("level")
        .agg(pl.col("mean", "spread").mean().fill_null(0.0).round_sig_figs(_DIGITS))
        .sort("level")
    )
    if levels.is_empty():
        raise CurationError(
            f"target '{target.name}' has balance_from: {{by: probe}}, but no level was probed for it: run probe first"
        )
    best = levels.sort("mean", "level").row(-1, named=True)
    least = best["mean"] - pl.max_horizontal("spread", pl.lit(best["spread"]))
    return int(levels.filter(pl.col("mean") >= least.round_sig_figs(_DIGITS))["level"].max())  # type: ignore[arg-type]
