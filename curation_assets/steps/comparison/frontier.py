"""frontier: what subsets of ten sizes are worth, so that a size can be chosen by looking."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from curation_assets.pools import TargetSettings
from curation_assets.steps.comparison.candidates import CHOSEN, PAPER, RANDOM, Candidates, Size, draw_seeds
from curation_assets.steps.comparison.measuring import MOST_MEASURED, Measurer, Tally
from curation_assets.steps.context import StepContext
from curation_assets.steps.dataset.start_level import StartLevels
from curation_assets.steps.dataset.target_draw import TargetDraw
from curation_assets.storage.tables import Frontier

N_SIZES, SMALLEST, LARGEST = 10, 0.01, 0.8
N_DRAWS, N_MEASURED, N_RANDOM_LABELS = 3, 2, 100
"""Draws by a rule; those of them, and random ones, on which measures without labels are taken; random subsets whose
labels are counted without drawing them."""
SAMPLE_ROWS = 4_000
"""Rows of the pool that measures without labels are taken on: a fifth of those of the comparison, at ten sizes."""
VENDI_ROWS = 500
"""Rows of a subset whose Vendi score is taken. It takes the cube of their number, and of equally many rows the scores
of all sizes can be compared."""
_LEVEL_DRAWS, _LEVEL_ROWS = 2, 500
_RANDOM, _PAPER, _CHOSEN, _VENDI = 30, 31, 32, 33
"""Tell the draws of the frontier from those of the comparison."""


@dataclass(frozen=True, slots=True)
class _Subset:
    name: str
    level: int | None
    draws: Iterable[np.ndarray]


def measure_frontier(step: StepContext) -> None:
    """Draw subsets of ten sizes at random, by the paper's rule and by that of the first target, and measure them.

    All are in samples, also where the target is in tokens. With `balance_from: auto` every size has its own start
    level, chosen by fewer and smaller draws than the selection's, so that the two may differ within noise.

    Peak memory: about 50 bytes a row of the pool, 4 more for each label field, and the embeddings of 4,000 sampled
    and at most 10,000 measured rows. The work does not grow with the pool except for the draws.
    """
    spec, storage, writer = step.spec, step.storage, step.writer
    candidates = Candidates.read(spec, storage)
    step.report(0.02, "reading a sample of the pool")
    measurer = Measurer.read(spec, storage, candidates, n_rows=SAMPLE_ROWS)
    total = candidates.total().amount
    sizes = frontier_sizes(total)
    levels = _StartLevels(step, candidates)
    lines: list[dict[str, Any]] = []
    for number, size in enumerate(sizes):
        step.report(0.05 + 0.95 * number / len(sizes), f"{size:,} of {total:,} samples")
        for subset in _subsets(candidates, size, levels.of(size), spec.targets[0], spec.seed):
            tally = _measure(measurer, subset, size, spec.seed)
            lines += tally.lines(size=size, fraction=size / total, subset=subset.name, level=subset.level)
    table = pl.DataFrame(lines, schema=Frontier.measures.schema)
    Frontier.measures.write(writer, table)
    chosen = table.filter(pl.col("subset") == CHOSEN).unique("size", maintain_order=True)
    writer.summary.update(
        n_pool_rows=len(candidates.index.clusters),
        n_admissible=total,
        n_sampled_rows=len(measurer.yardstick.rows),
        start_levels={str(size): level for size, level in chosen.select("size", "level").iter_rows()},
    )


def frontier_sizes(n_rows: int) -> list[int]:
    """Ten sizes at equal ratios from 1 % to 80 % of the rows; fewer where a small pool makes some of them equal."""
    return sorted(
        {max(1, round(n_rows * share)) for share in np.geomspace(SMALLEST, LARGEST, N_SIZES).tolist()}
    )


class _StartLevels:
    """The level that the first target's rule starts at, by size."""

    def __init__(self, step: StepContext, candidates: Candidates) -> None:
        self._target, self._candidates = step.spec.targets[0], candidates
        self._levels = StartLevels(
            step.spec,
            step.storage,
            candidates.index,
            lambda _: None,
            n_draws=_LEVEL_DRAWS,
            n_rows=_LEVEL_ROWS,
        )

    def of(self, size: int) -> int:
        target = self._target.model_copy(update={"size": size, "fraction": None, "tokens": None})
        pool = self._candidates
        return self._levels.of(TargetDraw.of(target, pool.index, pool.parents, pool.n_clusters)).level


def _subsets(
    candidates: Candidates, amount: int, level: int, target: TargetSettings, seed: int
) -> Iterator[_Subset]:
    from curation_assets.algorithms.randomness import Purpose, generator

    size, top = Size(amount), candidates.n_levels
    yield _Subset(
        RANDOM,
        None,
        (
            candidates.random(size, generator(seed, Purpose.COMPARISON, _RANDOM, amount, i))
            for i in range(N_MEASURED)
        ),
    )
    seeds = draw_seeds(seed, N_DRAWS, _PAPER, amount)
    yield _Subset(PAPER, top, (candidates.from_level(size, top, s, evenness=1.0) for s in seeds))
    rule: dict[str, Any] = {"evenness": target.evenness, "strategy": target.strategy}
    seeds = draw_seeds(seed, N_DRAWS, _CHOSEN, amount)
    yield _Subset(CHOSEN, level, (candidates.from_level(size, level, s, **rule) for s in seeds))


def _measure(measurer: Measurer, subset: _Subset, size: int, seed: int) -> Tally:
    from curation_assets.algorithms.measures.yardstick import MEASURES
    from curation_assets.algorithms.randomness import Purpose, generator

    tally = Tally()
    for i, rows in enumerate(subset.draws):
        if i < N_MEASURED:
            rng = generator(seed, Purpose.COMPARISON, _VENDI, size, i)
            part = rows[np.sort(rng.choice(len(rows), min(VENDI_ROWS, len(rows)), replace=False))]
            # How well a subset covers the pool cannot be told from a part of it.
            names = MEASURES if len(rows) <= MOST_MEASURED else ("effective_partition", "isolation")
            others = [name for name in names if name != "vendi"]
            measured = measurer.free(part, ["vendi"]) | measurer.free(rows, others)
            for name, value in measured.items():
                tally.add(None, name, value)
        if subset.name != RANDOM:
            for labels in measurer.fields:
                tally.add_labels(labels, labels.counts(rows))
    if subset.name == RANDOM:
        for number, labels in enumerate(measurer.fields):
            rng = generator(seed, Purpose.COMPARISON, _RANDOM, size, N_DRAWS, number)
            for counts in labels.random_counts(size, N_RANDOM_LABELS, rng):
                tally.add_labels(labels, counts)
    return tally
