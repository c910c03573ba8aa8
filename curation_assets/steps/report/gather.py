"""Everything the page shows, gathered from the pool's outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from curation_assets.formats.accounts import left_out_table, standing
from curation_assets.formats.base import ShardReader
from curation_assets.pools import PoolSpec, TargetSettings
from curation_assets.pools.secrets import shown as without_secrets
from curation_assets.report.data import AtlasSummary, LeftOutSummary, ReportData, TargetSummary
from curation_assets.steps.cleaning.removed_shares import removal_lines
from curation_assets.steps.damage import blank_lines, left_out_of_pool
from curation_assets.steps.dataset.atlas import atlas_command
from curation_assets.steps.ingest.throughput import RunThroughput
from curation_assets.steps.report.balance import label_table, summarise_levels
from curation_assets.steps.report.cards import fill_card, plan_cards
from curation_assets.steps.report.cleaning import (
    read_evidence,
    summarise_contamination,
    summarise_duplicates,
)
from curation_assets.steps.report.comparison import (
    read_comparisons,
    read_frontier,
    read_probes,
    read_start_levels,
)
from curation_assets.steps.report.fates import summarise_fates
from curation_assets.steps.report.pool import ReportPool
from curation_assets.steps.report.samples import PoolViews
from curation_assets.steps.report.warnings import tree_warnings
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.tables import Atlas, RawPool

GRID_SAMPLES = 96
TEXT_SAMPLES = 24
"""Fewer, because they are read rather than looked at."""


@dataclass(frozen=True, slots=True)
class _TargetPlan:
    """Rows of a target and of its random baseline, and the rows of both that are shown."""

    target: TargetSettings
    rows: np.ndarray
    random: np.ndarray
    random_shown: np.ndarray
    balanced_shown: np.ndarray
    tokens: np.ndarray | None
    """Of `rows`, where they are counted."""


def gather_report(
    spec: PoolSpec,
    storage: PoolStorage,
    reader: ShardReader,
    evaluation_readers: Mapping[str, ShardReader] | None = None,
) -> ReportData:
    """Everything the page shows.

    Args:
        spec: the pool.
        storage: its outputs, complete up to the ledger and the atlas.
        reader: for the samples that are shown, a few hundred.
        evaluation_readers: of evaluation sets by name, to show their samples beside those of the pool.
    """
    from curation_assets.algorithms.randomness import Purpose, generator

    pool = ReportPool.read(spec, storage)
    every = pool.admissible_rows()
    plans = [_plan(pool, every, t) for t in range(len(spec.targets))]
    cards = plan_cards(pool, every, plans[0].rows)
    pool_sample = _pick(pool, every, generator(spec.seed, Purpose.BASELINE, len(plans)))
    evidence = read_evidence(pool)
    views = PoolViews(pool, reader)
    shown = [rows for plan in plans for rows in (plan.random_shown, plan.balanced_shown)]
    views.load(np.concatenate([pool_sample, *shown, *(card.rows for card in cards), evidence.rows()]))
    comparisons, start_levels = read_comparisons(storage), read_start_levels(storage)
    targets = [
        replace(
            _summarise_target(pool, every, plan, views),
            comparison=comparisons.get(plan.target.name),
            start_levels=start_levels.get(plan.target.name, ()),
        )
        for plan in plans
    ]
    levels = summarise_levels(pool, every)
    n_rejected, rejections = _rejections(storage, pool.index.shards)
    top = storage.clusters(spec.n_levels).require_facts()
    embedded = [storage.embedded(shard).require_facts().summary for shard in pool.index.shards]
    speed = RunThroughput.of(embedded)
    return ReportData(
        pool=spec.name,
        description=spec.description,
        n_shards=len(pool.index.shards),
        n_samples=len(every),
        n_rejected=n_rejected,
        rejections=rejections,
        label_name=spec.source.label_fields[0] if spec.source.label_fields else None,
        levels=levels,
        targets=targets,
        clusters=[fill_card(pool, every, card, views) for card in cards],
        warnings=[*tree_warnings(levels, targets), *removal_lines(spec, storage), *blank_lines(storage)],
        encoder=spec.encoder_name,
        settings=without_secrets(spec.model_dump(mode="json", exclude={"dagster"})),
        tree_version=top.summary.get("tree_version") or "",
        pool_sample=views.of(pool_sample),
        fates=summarise_fates(storage, pool.index.shards),
        left_out=_left_out(storage),
        duplicates=summarise_duplicates(pool, evidence, views),
        contamination=summarise_contamination(pool, evidence, views, evaluation_readers or {}),
        atlas=_summarise_atlas(spec, storage.atlas()),
        embedding_speed=speed.line() if speed else "",
        frontier=read_frontier(storage),
        probes=read_probes(storage),
    )


def _plan(pool: ReportPool, every: np.ndarray, t: int) -> _TargetPlan:
    from curation_assets.algorithms.randomness import Purpose, generator

    target, seed = pool.spec.targets[t], pool.spec.seed
    selection = pool.storage.selection()
    counts_tokens = "tokens" in selection.require_facts().summary
    columns = ["shard", "row", "n_tokens"] if counts_tokens else ["shard", "row"]
    mine = selection.selected.part("target", target.name, *columns)
    offsets = mine["shard"].replace_strict(pool.starts(), return_dtype=pl.Int64).to_numpy()
    places = offsets + mine["row"].to_numpy()
    order = np.argsort(places, kind="stable")
    rows = places[order]
    rng = generator(seed, Purpose.BASELINE, t)
    random = every[rng.choice(len(every), len(rows), replace=False)]
    return _TargetPlan(
        target,
        rows,
        random,
        _pick(pool, random, rng),
        _pick(pool, rows, rng),
        mine["n_tokens"].to_numpy()[order] if counts_tokens else None,
    )


def _summarise_target(
    pool: ReportPool, every: np.ndarray, plan: _TargetPlan, views: PoolViews
) -> TargetSummary:
    target, captions = plan.target, {}
    selected = pool.storage.selection().require_facts().summary
    if plan.tokens is not None:
        counted = plan.tokens[np.searchsorted(plan.rows, plan.balanced_shown)].tolist()
        captions = {
            row: f"{n:,} token{'s' * (n != 1)}"
            for row, n in zip(plan.balanced_shown.tolist(), counted, strict=True)
        }
    return TargetSummary(
        name=target.name,
        size=len(plan.rows),
        strategy=target.strategy,
        random_sample=views.of(plan.random_shown),
        balanced_sample=views.of(plan.balanced_shown, captions),
        label_counts=label_table(pool, every, plan.random, plan.rows),
        n_tokens=None if plan.tokens is None else int(plan.tokens.sum(dtype=np.int64)),
        requested_tokens=selected["requested"][target.name] if target.tokens is not None else None,
        balance_from=selected["balance_from"][target.name],
        evenness=selected["evenness"][target.name],
    )


def _pick(pool: ReportPool, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    most = GRID_SAMPLES if pool.spec.modality == "image" else TEXT_SAMPLES
    return np.sort(rng.choice(rows, min(most, len(rows)), replace=False))


def _summarise_atlas(spec: PoolSpec, atlas: Atlas) -> AtlasSummary | None:
    """How to open the export for Embedding Atlas, and its picture; None if there is none."""
    facts = atlas.facts()
    if spec.atlas is None or facts is None:
        return None
    n_rows, n_pool_rows = facts.summary["n_rows"], facts.summary["n_pool_rows"]
    picture = atlas.path(Atlas.PICTURE).read_bytes()
    return AtlasSummary(atlas_command(atlas, spec), n_rows, n_pool_rows, picture)


def _left_out(storage: PoolStorage) -> list[LeftOutSummary]:
    files, members = left_out_of_pool(storage, storage.shard_facts(RawPool.asset))
    lines = (*left_out_table(standing(files)), *left_out_table(members, "member"))
    return [LeftOutSummary(line.n, line.what, line.kinds) for line in lines]


def _rejections(storage: PoolStorage, shards: list[str]) -> tuple[int, dict[str, int]]:
    totals: dict[str, int] = {}
    for shard in shards:
        for reason, count in storage.ledger(shard).require_facts().summary["rejections"].items():
            totals[reason] = totals.get(reason, 0) + count
    return sum(totals.values()), totals
