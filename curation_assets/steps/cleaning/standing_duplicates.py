"""Decisions of an earlier deduplication that still hold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from curation_assets.graph.steps import pool_steps
from curation_assets.pools import PoolSpec
from curation_assets.steps.cleaning.duplicate_rows import DuplicateRows
from curation_assets.storage.outputs import Facts
from curation_assets.storage.tables import Duplicates


@dataclass(frozen=True, slots=True)
class Standing:
    """Decisions of an earlier run that still hold."""

    kept: np.ndarray
    """int64: rows that stay."""
    evidence: pl.DataFrame
    """Of the rows that stay removed, with `pool_row`."""
    visits: np.ndarray | None
    """int32 (n, v): coarse clusters of the kept rows, -1 elsewhere; None without a semantic pass."""
    output: Duplicates | None
    """The earlier output; None if none of its decisions holds."""

    @classmethod
    def none(cls) -> Standing:
        """Everything is judged from scratch."""
        return cls(np.empty(0, dtype=np.int64), pl.DataFrame(schema=_STANDING_SCHEMA), None, None)

    @classmethod
    def read(cls, spec: PoolSpec, stored: Duplicates, rows: DuplicateRows, threshold: float) -> Standing:
        """The stored decisions that still hold: those on unchanged shards, while the twin of a removed row is kept.

        With other settings than the stored ones, none holds.
        """
        facts = stored.whole_facts()
        if facts is None or not _is_of(facts, spec, threshold):
            return cls.none()
        now = rows.judged().with_columns(start=rows.starts[:-1])
        before = stored.judged.read()
        before = before.with_columns(old_start=pl.col("n_rows").cum_sum() - pl.col("n_rows"))
        same = before.join(now, on=["shard", "digest", "n_rows"], maintain_order="left")
        if same.is_empty():
            return cls.none()
        stands = np.zeros(rows.n_rows, dtype=bool)
        visits = _visits_now(stored, facts, same, rows.n_rows)
        for start, n_rows in same.select("start", "n_rows").iter_rows():
            stands[start : start + n_rows] = True
        # A sample that is no longer contaminated was never judged.
        left_out = _pool_rows(stored.left_out.read(), same)["pool_row"].to_numpy()
        stands[left_out] = False
        stands[rows.contaminated] = False
        evidence = _pool_rows(stored.evidence.read(), same)
        evidence = evidence.filter(pl.Series(stands[evidence["pool_row"].to_numpy()], dtype=pl.Boolean))
        removed = evidence["pool_row"].to_numpy()
        kept = stands.copy()
        kept[removed] = False
        twins = _twin_rows(rows, evidence)
        has_twin = (twins >= 0) & kept[twins]
        evidence = evidence.filter(pl.Series(has_twin, dtype=pl.Boolean))
        return cls(np.flatnonzero(kept), evidence.select(list(_STANDING_SCHEMA)), visits, stored)


_STANDING_SCHEMA = {"pool_row": pl.Int64, **Duplicates.evidence.schema}


def decisive_settings(spec: PoolSpec) -> str:
    """Fingerprint of the settings under which decisions hold."""
    return pool_steps(spec)["duplicates"].config_fingerprint


def _is_of(facts: Facts, spec: PoolSpec, threshold: float) -> bool:
    stored = facts.summary
    return stored.get("decided_by") == decisive_settings(spec) and stored.get("threshold") == threshold


def _visits_now(stored: Duplicates, facts: Facts, same: pl.DataFrame, n_rows: int) -> np.ndarray | None:
    if Duplicates.visits.name not in facts.files:
        return None
    before = stored.visits.read()
    visits = np.full((n_rows, before.shape[1]), -1, dtype=np.int32)
    for start, old_start, size in same.select("start", "old_start", "n_rows").iter_rows():
        visits[start : start + size] = before[old_start : old_start + size]
    return visits


def _pool_rows(table: pl.DataFrame, same: pl.DataFrame) -> pl.DataFrame:
    """The rows of a table that are of unchanged shards, with their present number in the pool."""
    found = table.join(same.select("shard", "start"), on="shard", maintain_order="left")
    return found.with_columns(pool_row=pl.col("row").cast(pl.Int64) + pl.col("start")).drop("start")


def _twin_rows(rows: DuplicateRows, evidence: pl.DataFrame) -> np.ndarray:
    """Present row of each twin, int64; -1 if its shard or sample is gone."""
    wanted = evidence.select("twin_set", "twin_id").unique()
    parts = [pl.DataFrame(schema={"twin_set": pl.String, "twin_id": pl.String, "twin": pl.Int64})]
    numbers = {shard: number for number, shard in enumerate(rows.shards)}
    for (shard,), ids in wanted.partition_by("twin_set", as_dict=True).items():
        if shard in numbers:
            number = numbers[str(shard)]
            named, start = rows.embedded[number].rows.read("sample_id"), rows.starts[number]
            named = named.select(
                twin_id="sample_id", twin=pl.int_range(pl.len(), dtype=pl.Int64) + pl.lit(start, pl.Int64)
            )
            parts.append(ids.join(named, on="twin_id").select("twin_set", "twin_id", "twin"))
    found = evidence.join(pl.concat(parts), on=["twin_set", "twin_id"], how="left", maintain_order="left")
    return found["twin"].fill_null(-1).to_numpy()
