"""selection: quotas down the tree, and the rows that fill them, for every target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from curation_assets.errors import CurationError
from curation_assets.pools import PoolSpec, TargetSettings
from curation_assets.steps.context import StepContext
from curation_assets.steps.dataset.clean_selection import require_clean_rows
from curation_assets.steps.dataset.pool_index import PoolIndex
from curation_assets.steps.dataset.shard_tables import ShardTables, shard_tables
from curation_assets.steps.dataset.start_level import StartLevel, StartLevels
from curation_assets.steps.dataset.target_draw import TOKENS, TargetDraw
from curation_assets.steps.soundness import require_one_encoder
from curation_assets.storage.clusters import read_parents
from curation_assets.storage.fingerprint import fingerprint
from curation_assets.storage.tables import Selection

if TYPE_CHECKING:
    from curation_assets.algorithms.sampling.balanced import Quotas


@dataclass(frozen=True, slots=True)
class _Drawn:
    """The rows of one target, and the plan they were drawn by."""

    target: TargetSettings
    unit: str
    rows: np.ndarray
    plan: Quotas
    start: StartLevel
    seed: int
    requested: int
    lightest_left: int | None
    """Tokens of the lightest sample that could still be taken; less than that is missing."""


def select(step: StepContext) -> None:
    """Draw every target of a pool.

    Rows that the cleaning excluded, and rows whose sample id occurs in an earlier shard, are set aside first. Hashes
    of sample ids and the seed decide the draws, so the order in which shards arrived does not matter.

    Writes the selected rows, the quotas of every level (in the unit of their target), the weight of the samples of each
    level-1 cluster, the measures that start levels were chosen by, the repeated ids, and the level at which quotas ran
    out for each level-1 cluster. Peak memory: about 50 bytes a row of the pool, where a tenth of
    it is selected and level-1 clusters have ten rows (measured with 100 million).

    Raises:
        PoolSpecError: if a target is larger than the pool, or has fewer tokens than any sample.
        CurationError: if a draw misses its size or holds a contaminated sample; then nothing is written.
    """
    spec, storage, writer = step.spec, step.storage, step.writer
    step.report(0.0, f"drawing {len(spec.targets)} targets")
    require_one_encoder(storage)
    shards = shard_tables(spec, storage)
    index = PoolIndex.read(shards)
    parents = read_parents(storage, spec.n_levels)
    n_clusters = len(storage.clusters(1).centroids.read())
    levels = StartLevels(spec, storage, index, step.log)
    drawn = [
        _draw_target(spec, TargetDraw.of(target, index, parents, n_clusters), levels)
        for target in spec.targets
    ]
    tables = [_selected_table(draw, index, shards, parents) for draw in drawn]
    table = pl.concat(tables)
    if spec.decontamination:
        require_clean_rows(spec, storage, table)
    ran_out = np.minimum.reduce([draw.plan.ran_out_at(parents) for draw in drawn])
    Selection.selected.write(writer, table)
    Selection.quotas.write(writer, pl.concat([_quota_table(draw) for draw in drawn]))
    Selection.weights.write(writer, pl.concat([_weight_table(draw) for draw in drawn]))
    Selection.start_levels.write(writer, _level_table(drawn))
    Selection.repeated_ids.write(writer, index.repeated_ids)
    Selection.ran_out_at.write(writer, ran_out)
    writer.parts.update(_shard_digests(index, drawn, tables, ran_out))
    by_name = {draw.target.name: draw for draw in drawn}
    writer.summary.update(
        n_rows=len(index.clusters),
        n_admissible=int(index.admissible.sum()),
        n_duplicate_ids=index.repeated_ids.height,
        targets={name: len(draw.rows) for name, draw in by_name.items()},
        requested={name: draw.requested for name, draw in by_name.items()},
        unit={name: draw.unit for name, draw in by_name.items()},
        balance_from={name: draw.start.level for name, draw in by_name.items()},
        chosen_by={name: draw.start.chosen_by for name, draw in by_name.items()},
        evenness={name: draw.target.evenness for name, draw in by_name.items()},
        seed={name: draw.seed for name, draw in by_name.items()},
    )
    if index.n_tokens is not None:
        tokens = {name: int(index.n_tokens[draw.rows].sum(dtype=np.int64)) for name, draw in by_name.items()}
        lightest = {name: draw.lightest_left for name, draw in by_name.items() if draw.unit == TOKENS}
        writer.summary.update(tokens=tokens, lightest_left=lightest)


def _draw_target(spec: PoolSpec, draw: TargetDraw, levels: StartLevels) -> _Drawn:
    target = draw.target
    seed = spec.seed if target.seed is None else target.seed
    start = levels.of(draw)
    chosen, plan = draw.draw(start.level, target.evenness, seed)
    left = None
    if draw.tokens is None:
        if len(chosen) != draw.requested:
            raise CurationError(
                f"target '{target.name}' drew {len(chosen):,} samples instead of {draw.requested:,}"
            )
    else:
        tokens, budget = draw.tokens, draw.requested
        total = int(tokens[chosen].sum(dtype=np.int64))
        could_be_taken = ((plan.quotas[0] > 0)[draw.clusters] | (tokens > budget)) & (tokens > 0)
        could_be_taken[chosen] = False
        left = int(tokens[could_be_taken].min()) if could_be_taken.any() else None
        if not misses_less_than_a_sample(budget, total, left):
            raise CurationError(
                f"target '{target.name}' drew {total:,} tokens instead of {budget:,}, and a sample of {left} was left"
            )
    return _Drawn(target, draw.unit, chosen, plan, start, seed, draw.requested, left)


def misses_less_than_a_sample(budget: int, total: int, lightest_left: int | None) -> bool:
    """Whether a total of tokens is as close to its budget as whole samples allow without exceeding it.

    `lightest_left` is the lightest sample that could still have been taken; None if all were.
    """
    return 0 <= budget - total < (1 if lightest_left is None else lightest_left)


def _quota_table(draw: _Drawn) -> pl.DataFrame:
    levels = [
        pl.DataFrame({"cluster": np.arange(len(quota)), "size": draw.plan.sizes[t], "quota": quota}).select(
            pl.lit(draw.target.name).alias("target"),
            pl.lit(draw.unit).alias("unit"),
            pl.lit(t + 1, pl.Int32).alias("level"),
            pl.all(),
        )
        for t, quota in enumerate(draw.plan.quotas)
    ]
    return pl.concat(levels)


def _weight_table(draw: _Drawn) -> pl.DataFrame:
    weights = draw.plan.expected / np.maximum(draw.plan.sizes[0], 1)
    # Of a cluster that gives all it has, the last digits can be above the size.
    table = pl.DataFrame({"cluster": np.arange(len(weights)), "weight": np.minimum(weights, 1.0)})
    return table.select(pl.lit(draw.target.name).alias("target"), pl.all())


def _level_table(drawn: Sequence[_Drawn]) -> pl.DataFrame:
    """The measures of every target whose level was chosen without labels."""
    rows = [
        {"target": draw.target.name, **figures, "chosen": figures["level"] == draw.start.level}
        for draw in drawn
        for figures in draw.start.figures
    ]
    return pl.DataFrame(rows, schema=Selection.start_levels.schema)


def _selected_table(
    draw: _Drawn, index: PoolIndex, shards: Sequence[ShardTables], parents: list[np.ndarray]
) -> pl.DataFrame:
    """Rows in canonical order: those of a shard follow each other."""
    chosen = draw.rows
    columns = {"level_1": index.clusters[chosen].astype(np.int64)}
    for level, parent in enumerate(parents, start=2):
        columns[f"level_{level}"] = parent[columns[f"level_{level - 1}"]]
    columns["distance"] = index.distances[chosen]
    if index.n_tokens is not None:
        columns["n_tokens"] = index.n_tokens[chosen]
    bounds = np.searchsorted(chosen, index.starts)
    parts = []
    for number in np.flatnonzero(np.diff(bounds)).tolist():
        shard, mine = shards[number], slice(bounds[number], bounds[number + 1])
        row = chosen[mine] - index.starts[number]
        ids = shard.embedded.rows.read("raw_row", "sample_id")[row]
        parts.append(
            pl.DataFrame(
                {
                    "shard": pl.repeat(shard.key, len(row), eager=True),
                    "row": row,
                    "raw_row": ids["raw_row"],
                    "sample_id": ids["sample_id"],
                    **{name: values[mine] for name, values in columns.items()},
                }
            )
        )
    return pl.concat(parts).select(pl.lit(draw.target.name).alias("target"), pl.all())


def ledger_part(shard: str) -> str:
    """Name of the part of a selection that a shard's ledger depends on; it covers more than its selected rows."""
    return f"ledger/{shard}"


def _shard_digests(
    index: PoolIndex, drawn: list[_Drawn], tables: list[pl.DataFrame], ran_out: np.ndarray
) -> dict[str, str]:
    """Digest of the part that concerns each shard. A shard whose part is unchanged is not written again."""
    bounds = [np.searchsorted(draw.rows, index.starts).tolist() for draw in drawn]
    repeated = index.repeated_ids.partition_by("shard", as_dict=True, maintain_order=True)
    digests: dict[str, str] = {}
    for number, shard in enumerate(index.shards):
        parts = [
            table[at[number] : at[number + 1]]
            for table, at in zip(tables, bounds, strict=True)
            if at[number] < at[number + 1]
        ]
        digests[shard] = fingerprint([pl.concat(parts).write_csv()] if parts else [])
        levels = ran_out[index.clusters[index.starts[number] : index.starts[number + 1]]]
        fates = [repeated[shard,].write_csv() if (shard,) in repeated else "", levels.tobytes().hex()]
        digests[ledger_part(shard)] = fingerprint([digests[shard], *fates])
    return digests
