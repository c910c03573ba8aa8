"""comparison: every target beside what a user would get without the tree, and the verdict."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from curation_assets.steps.comparison.candidates import (
    CHOSEN,
    FLAT,
    RANDOM,
    Candidates,
    ChosenDraw,
    draw_seeds,
    level_name,
)
from curation_assets.steps.comparison.labels import LabelField
from curation_assets.steps.comparison.measuring import Measurer, Tally
from curation_assets.steps.comparison.verdict import judge
from curation_assets.steps.context import StepContext
from curation_assets.storage.tables import Comparison

N_DRAWS = 5
"""Of every subset; of the chosen one the selection itself is the first."""
N_LABEL_DRAWS = 100
"""Random subsets whose labels are counted."""
N_CHEAP_DRAWS, CHEAP_ROWS = 20, 500_000
"""In pools of at most so many rows, subsets in samples are drawn more often, to count their labels only."""


@dataclass(frozen=True, slots=True)
class _Subset:
    """One way to draw, and its draws, made one at a time."""

    name: str
    level: int | None
    draws: Iterable[np.ndarray]


@dataclass(slots=True)
class _LabelSums:
    """Label counts of the draws of one subset, added up."""

    n_draws: int = 0
    by_field: dict[str, np.ndarray] = field(default_factory=dict)

    def add(self, name: str, counts: np.ndarray) -> None:
        self.by_field[name] = self.by_field.get(name, 0) + counts

    def mean(self, name: str) -> np.ndarray | None:
        return self.by_field[name] / self.n_draws if self.n_draws else None


def compare(step: StepContext) -> None:
    """Measure every target beside random subsets, flat k-means, every start level and redraws of itself.

    Subsets of a target have its size, in samples or tokens. Work does not grow with the number of samples except for
    the draws; measures without labels look at 10,000 rows of the pool and 5,000 of a subset.

    Writes a table of the measures, one of the samples of each label, and a verdict on each target in the summary.
    Peak memory: about 50 bytes a row of the pool, 4 more for each label field, and the measured rows.
    """
    spec, storage, writer = step.spec, step.storage, step.writer
    candidates = Candidates.read(spec, storage)
    step.report(0.05, "reading a sample of the pool")
    measurer = Measurer.read(spec, storage, candidates)
    lines: list[dict[str, Any]] = []
    labels = [Comparison.labels.empty()]
    verdicts: dict[str, Any] = {}
    for t, target in enumerate(spec.targets):
        step.report(0.1 + 0.9 * t / len(spec.targets), f"comparing target {target.name}")
        chosen = ChosenDraw.read(storage, target, candidates.index)
        mine, mine_labels = _measure(measurer, candidates, chosen, t, spec.seed)
        lines += mine
        labels.append(mine_labels)
        verdict = judge(mine, mine_labels, level=chosen.level, evenness=chosen.evenness)
        verdicts[target.name] = verdict.to_facts()
    Comparison.measures.write(writer, pl.DataFrame(lines, schema=Comparison.measures.schema))
    Comparison.labels.write(writer, pl.concat(labels))
    writer.summary.update(
        n_pool_rows=len(candidates.index.clusters),
        n_sampled_rows=len(measurer.yardstick.rows),
        verdicts=verdicts,
    )


def _measure(
    measurer: Measurer, candidates: Candidates, chosen: ChosenDraw, t: int, seed: int
) -> tuple[list[dict[str, Any]], pl.DataFrame]:
    """The lines of both tables about one target."""
    lines: list[dict[str, Any]] = []
    sums: dict[str, _LabelSums] = {}
    for subset in _subsets(candidates, chosen, t, seed, has_labels=bool(measurer.fields)):
        tally, total = Tally(), _LabelSums()
        counts_labels_apart = subset.name == RANDOM and not chosen.size.in_tokens
        for i, rows in enumerate(subset.draws):
            if i < N_DRAWS:
                for name, value in measurer.free(rows).items():
                    tally.add(None, name, value)
            if not counts_labels_apart:
                total.n_draws += 1
                for fields in measurer.fields:
                    _count(tally, total, fields, fields.counts(rows))
        if counts_labels_apart:
            total.n_draws = N_LABEL_DRAWS
            for number, fields in enumerate(measurer.fields):
                rng = _rng(seed, t, 1, number)
                for counts in fields.random_counts(chosen.size.amount, N_LABEL_DRAWS, rng):
                    _count(tally, total, fields, counts)
        lines += tally.lines(target=chosen.target.name, subset=subset.name, level=subset.level)
        sums[subset.name] = total
    tables = [_label_table(chosen, fields, sums) for fields in measurer.fields]
    return lines, pl.concat([Comparison.labels.empty(), *tables])


def _count(tally: Tally, total: _LabelSums, fields: LabelField, counts: np.ndarray) -> None:
    tally.add_labels(fields, counts)
    total.add(fields.name, counts)


def _subsets(
    candidates: Candidates, chosen: ChosenDraw, t: int, seed: int, *, has_labels: bool
) -> Iterator[_Subset]:
    """Every way to draw a subset of the target's size; those that the pool does not allow are left out."""
    size = chosen.size
    # Of tokens, the labels of a random subset cannot be drawn without its rows.
    n_random = N_LABEL_DRAWS if size.in_tokens and has_labels else N_DRAWS
    is_cheap = has_labels and not size.in_tokens and len(candidates.available) <= CHEAP_ROWS
    n_draws = N_CHEAP_DRAWS if is_cheap else N_DRAWS
    yield _Subset(RANDOM, None, (candidates.random(size, _rng(seed, t, 0, i)) for i in range(n_random)))
    flat = (candidates.flat(size, s) for s in draw_seeds(seed, n_draws, t, 2))
    yield _Subset(FLAT, None, (rows for rows in flat if rows is not None))
    for level in candidates.start_levels:
        seeds = draw_seeds(seed, n_draws, t, 3, level)
        draws = (candidates.from_level(size, level, s, evenness=chosen.evenness) for s in seeds)
        yield _Subset(level_name(level), level, draws)
    yield _Subset(CHOSEN, chosen.level, _redraws(candidates, chosen, draw_seeds(seed, n_draws - 1, t, 4)))


def _redraws(candidates: Candidates, chosen: ChosenDraw, seeds: Sequence[int]) -> Iterator[np.ndarray]:
    yield chosen.rows
    for seed in seeds:
        yield chosen.redraw(candidates, seed)


def _rng(seed: int, *coordinates: int) -> np.random.Generator:
    from curation_assets.algorithms.randomness import Purpose, generator

    return generator(seed, Purpose.COMPARISON, *coordinates)


def _label_table(chosen: ChosenDraw, fields: LabelField, sums: dict[str, _LabelSums]) -> pl.DataFrame:
    columns = {
        "label": fields.labels,
        "in_pool": fields.in_pool,
        "random": sums[RANDOM].mean(fields.name),
        "flat": sums[FLAT].mean(fields.name),
        "chosen": fields.counts(chosen.rows),
    }
    unknown = [None] * len(fields.labels)
    table = pl.DataFrame({name: unknown if column is None else column for name, column in columns.items()})
    return Comparison.labels.cast(
        table.with_columns(target=pl.lit(chosen.target.name), field=pl.lit(fields.name))
    )
