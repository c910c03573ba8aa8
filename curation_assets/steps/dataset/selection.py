"""selection: quotas down the tree, and the rows that fill them, for every target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from curation_assets.errors import CurationError, PoolSpecError
from curation_assets.pools import PoolSpec, TargetSettings
from curation_assets.steps.context import StepContext
from curation_assets.steps.dataset.clean_selection import require_clean_rows
from curation_assets.steps.dataset.pool_index import PoolIndex
from curation_assets.steps.dataset.shard_tables import ShardTables, shard_tables
from curation_assets.steps.soundness import require_one_encoder
from curation_assets.storage.clusters import read_parents
from curation_assets.storage.fingerprint import fingerprint
from curation_assets.storage.tables import Selection

if TYPE_CHECKING:
    from curation_assets.algorithms.sampling.balanced import Quotas

SAMPLES, TOKENS = "samples", "tokens"


@dataclass(frozen=True, slots=True)
class _Drawn:
    """The rows of one target, and the plan they were drawn by."""

    target: TargetSettings
    rows: np.ndarray
    plan: Quotas
    requested: int
    lightest_left: int | None
    """Tokens of the lightest sample that could still be taken; less than that is missing."""

    @property
    def unit(self) -> str:
        return SAMPLES if self.target.tokens is None else TOKENS


def select(step: StepContext) -> None:
    """Draw every target of a pool.

    Rows that the cleaning excluded, and rows whose sample id occurs in an earlier shard, are set aside first. Hashes
    of sample ids and the seed decide the draws, so the order in which shards arrived does not matter.

    Writes the selected rows, the quotas of every level (in the unit of their target), the repeated ids, and the level
    at which quotas ran out for each level-1 cluster. Peak memory: about 50 bytes a row of the pool, where a tenth of
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
    drawn = [_draw_target(spec, target, index, n_clusters, parents) for target in spec.targets]
    tables = [_selected_table(draw, index, shards, parents) for draw in drawn]
    table = pl.concat(tables)
    if spec.decontamination:
        require_clean_rows(spec, storage, table)
    ran_out = np.minimum.reduce([draw.plan.ran_out_at(parents) for draw in drawn])
    Selection.selected.write(writer, table)
    Selection.quotas.write(writer, pl.concat([_quota_table(draw) for draw in drawn]))
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
    )
    if index.n_tokens is not None:
        tokens = {name: int(index.n_tokens[draw.rows].sum(dtype=np.int64)) for name, draw in by_name.items()}
        lightest = {name: draw.lightest_left for name, draw in by_name.items() if draw.unit == TOKENS}
        writer.summary.update(tokens=tokens, lightest_left=lightest)


def _draw_target(
    spec: PoolSpec, target: TargetSettings, index: PoolIndex, n_clusters: int, parents: list[np.ndarray]
) -> _Drawn:
    from curation_assets.algorithms.randomness import Purpose, keyed_priorities
    from curation_assets.algorithms.sampling.balanced import draw, plan_quotas
    from curation_assets.algorithms.sampling.ordering import group_sums

    if target.strategy == "random":
        priorities = keyed_priorities(index.id_hashes, spec.seed, Purpose.DRAW)
    else:
        priorities = index.distances
    if target.tokens is not None:
        return _draw_tokens(spec, target, index, priorities, n_clusters, parents)
    clusters = index.clusters
    if not index.admissible.all():
        # Rows that may not be drawn get a cluster of their own, beyond the tree, with a quota of 0.
        clusters = np.where(index.admissible, clusters, clusters.dtype.type(n_clusters))
    sizes = group_sums(clusters, n_clusters + 1)[:n_clusters]
    size = target.resolve(int(sizes.sum()))
    plan = plan_quotas(sizes, parents, size, seed=spec.seed)
    chosen = draw(clusters, priorities, np.append(plan.quotas[0], 0))
    if len(chosen) != size:
        raise CurationError(f"target '{target.name}' drew {len(chosen):,} samples instead of {size:,}")
    return _Drawn(target, chosen, plan, size, None)


def _draw_tokens(
    spec: PoolSpec,
    target: TargetSettings,
    index: PoolIndex,
    priorities: np.ndarray,
    n_clusters: int,
    parents: list[np.ndarray],
) -> _Drawn:
    from curation_assets.algorithms.sampling.balanced import draw_budget

    if index.n_tokens is None:
        raise CurationError(
            f"target '{target.name}' is in tokens, but none are counted: run token_counts first"
        )
    clusters = index.clusters
    # Rows that may not be drawn get no tokens, so none of them is drawn.
    tokens = np.where(index.admissible, index.n_tokens, np.uint32(0))
    budget = target.resolve(int(tokens.sum(dtype=np.int64)))
    lightest = int(tokens.min(where=tokens > 0, initial=np.iinfo(np.uint32).max))
    if budget < lightest:
        raise PoolSpecError(
            f"targets.{target.name}.tokens is {budget:,}, but the shortest admissible sample has {lightest:,}: "
            f"choose at least that"
        )
    chosen, plan = draw_budget(clusters, priorities, tokens, budget, n_clusters, parents, seed=spec.seed)
    total = int(tokens[chosen].sum(dtype=np.int64))
    could_be_taken = ((plan.quotas[0] > 0)[clusters] | (tokens > budget)) & (tokens > 0)
    could_be_taken[chosen] = False
    left = int(tokens[could_be_taken].min()) if could_be_taken.any() else None
    if not misses_less_than_a_sample(budget, total, left):
        raise CurationError(
            f"target '{target.name}' drew {total:,} tokens instead of {budget:,}, and a sample of {left} was left"
        )
    return _Drawn(target, chosen, plan, budget, left)


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
