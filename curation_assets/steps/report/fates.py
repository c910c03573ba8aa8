"""Counts of the fates of a pool's rows, from the ledger."""

from __future__ import annotations

from collections import Counter

import polars as pl

from curation_assets.report.data import FateSummary
from curation_assets.storage.fates import (
    CONTAMINATED_FATE,
    DUPLICATE_FATE,
    FATES,
    KIND_WORDS,
    NOT_SELECTED_FATE,
    REJECTED_FATE,
    SELECTED_FATE,
)
from curation_assets.storage.pool_storage import PoolStorage


def summarise_fates(storage: PoolStorage, shards: list[str]) -> list[FateSummary]:
    """Every fate that occurs, with its parts; one shard's ledger is in memory at a time."""
    totals: Counter[str] = Counter()
    parts: dict[str, Counter[str]] = {}
    for shard in shards:
        ledger = storage.ledger(shard).fates.read()
        totals.update(ledger["fate"].to_list())
        for fate, column in _part_columns(ledger).items():
            counts = (
                ledger.filter(pl.col("fate") == fate).select(part=column).drop_nulls().group_by("part").len()
            )
            parts.setdefault(fate, Counter()).update(dict(counts.iter_rows()))
        if {DUPLICATE_FATE, CONTAMINATED_FATE} & set(totals):
            excluded = storage.admitted(shard).excluded.read("fate", "kind")
            counted = excluded.group_by("fate", "kind").len()
            for fate, kind, count in counted.iter_rows():
                parts.setdefault(fate, Counter())[KIND_WORDS[kind]] += count
    known = [fate for fate in FATES if totals[fate]]
    others = sorted(set(totals) - set(FATES))
    return [
        FateSummary(fate, totals[fate], dict(sorted(parts.get(fate, Counter()).items(), key=_frequent_first)))
        for fate in [*known, *others]
    ]


def _part_columns(ledger: pl.DataFrame) -> dict[str, pl.Expr]:
    """Fate -> column, as text, that divides its rows into parts."""
    columns = {
        SELECTED_FATE: pl.col("targets").explode(),
        REJECTED_FATE: pl.col("reason"),
    }
    if "ran_out_at" in ledger.columns:
        level = pl.col("ran_out_at")
        columns[NOT_SELECTED_FATE] = (
            pl.when(level > 0)
            .then(pl.format("its cluster at level {} got no quota", level))
            .when(level == 0)
            .then(pl.lit("other samples of its cluster were drawn"))
        )
    return columns


def _frequent_first(part: tuple[str, int]) -> tuple[int, str]:
    return -part[1], part[0]
