"""ledger: exactly one fate for every sample of a shard."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import polars as pl

from curation_assets.errors import CurationError
from curation_assets.formats.base import RejectionReason
from curation_assets.graph.steps import level_asset
from curation_assets.pools import PoolSpec
from curation_assets.steps.dataset.selected import DUPLICATES, SELECTED, part_of_shard
from curation_assets.steps.dataset.selection import RAN_OUT
from curation_assets.steps.ingest.raw_pool import TABLE as RAW_TABLE
from curation_assets.steps.tree.assign import TABLE as ASSIGN_TABLE
from curation_assets.storage.admission import CONTAMINATED_FATE, DUPLICATE_FATE, EXCLUDED, KEPT, KIND_WORDS
from curation_assets.storage.embeddings import REJECTED, ROWS
from curation_assets.storage.outputs import OutputWriter
from curation_assets.storage.pool_storage import PoolStorage

TABLE = "parquet"
SELECTED_FATE, NOT_SELECTED_FATE, REJECTED_FATE = "selected", "not_selected", "rejected"
FATES = (SELECTED_FATE, NOT_SELECTED_FATE, DUPLICATE_FATE, CONTAMINATED_FATE, REJECTED_FATE)
SCHEMA: dict[str, Any] = {
    "sample_id": pl.String,
    "file": pl.String,
    "member": pl.String,
    "fate": pl.String,
    "reason": pl.String,
    "detail": pl.String,
    "twin_set": pl.String,
    "twin_id": pl.String,
    "similarity": pl.Float32,
    "ran_out_at": pl.Int8,
    "targets": pl.List(pl.String),
}
"""A row for every row of the shard's raw pool, in its order. `reason` only of rejected samples; `twin_set` (shard
or evaluation set), `twin_id` and `similarity` of duplicates and contaminated ones; `ran_out_at` only of samples
that were not selected: the highest level whose cluster above them got nothing, 0 if their own level-1 cluster got a
share and other samples went first."""


def write_ledger(spec: PoolSpec, storage: PoolStorage, shard: str, writer: OutputWriter) -> None:
    """Store every row of the shard's raw pool with its fate, and what decided it.

    Args:
        spec: the pool.
        storage: its outputs.
        shard: key of the shard.
        writer: gets a table of `SCHEMA`.

    Raises:
        CurationError: if a sample would have two fates or none, or a step names a row that the raw pool lacks.
    """
    raw = storage.output("raw_pool", shard).table(
        RAW_TABLE, ["sample_id", "file", "member", "reason", "detail"]
    )
    n_rows = len(raw)
    rejected = raw.with_row_index("raw_row").filter(pl.col("reason").is_not_null())
    fates = pl.concat(
        [
            _fates(rejected, REJECTED_FATE),
            _fates(storage.output("embeddings", shard).table(REJECTED), REJECTED_FATE),
            _fates(_repeated_ids(storage, shard), REJECTED_FATE),
            *_excluded(spec, storage, shard),
            _drawn(storage, shard),
        ]
    )
    undecided = _admissible(spec, storage, shard).join(fates, on="raw_row", how="anti", maintain_order="left")
    fates = pl.concat([fates, _fates(undecided, NOT_SELECTED_FATE)]).sort("raw_row")
    if not np.array_equal(fates["raw_row"].to_numpy(), np.arange(n_rows)):
        raise CurationError(_not_one_fate_each(shard, n_rows, fates))
    ledger = pl.concat([raw.drop("reason", "detail"), fates.drop("raw_row")], how="horizontal")
    writer.table(TABLE, ledger.select(SCHEMA.keys()))
    reasons = Counter(ledger["reason"].drop_nulls().to_list())
    counts = Counter(ledger["fate"].to_list())
    ran_out_at = Counter(ledger["ran_out_at"].drop_nulls().to_list())
    writer.summary.update(
        n_rows=n_rows,
        fates=dict(sorted(counts.items())),
        rejections=dict(sorted(reasons.items())),
        ran_out_at={str(level): count for level, count in sorted(ran_out_at.items())},
    )


def _fates(table: pl.DataFrame, fate: str) -> pl.DataFrame:
    """The table's raw_row, and of the ledger's columns those that it has."""
    empty = {name: pl.lit(None, dtype) for name, dtype in SCHEMA.items() if name not in table.columns}
    return table.with_columns(**{**empty, "fate": pl.lit(fate)}).select(
        pl.col("raw_row").cast(pl.UInt32),
        *(pl.col(name).cast(dtype) for name, dtype in list(SCHEMA.items())[3:-1]),
        pl.col("targets").cast(pl.List(pl.String)).fill_null([]),
    )


def _repeated_ids(storage: PoolStorage, shard: str) -> pl.DataFrame:
    return part_of_shard(storage, DUPLICATES, shard).select(
        "raw_row",
        reason=pl.lit(RejectionReason.DUPLICATE_ID.value),
        detail=pl.format("also in shard {}, which is kept", "kept_shard"),
    )


def _excluded(spec: PoolSpec, storage: PoolStorage, shard: str) -> list[pl.DataFrame]:
    if not spec.is_cleaned:
        return []
    table = storage.output("admitted", shard).table(EXCLUDED)
    if unknown := set(table["fate"]) - {DUPLICATE_FATE, CONTAMINATED_FATE}:
        raise CurationError(
            f"shard '{shard}': rows were excluded as {sorted(unknown)}: run admitted of it again"
        )
    words = pl.col("kind").replace(KIND_WORDS)
    where = {DUPLICATE_FATE: "shard", CONTAMINATED_FATE: "evaluation set"}
    return [
        _fates(
            table.filter(pl.col("fate") == fate).with_columns(
                detail=pl.format("{} as {} in " + where[fate] + " {}", words, "twin_id", "twin_set")
            ),
            fate,
        )
        for fate in (DUPLICATE_FATE, CONTAMINATED_FATE)
    ]


def _admissible(spec: PoolSpec, storage: PoolStorage, shard: str) -> pl.DataFrame:
    """raw_row of the rows that the tree was drawn from, and where their quotas ran out."""
    rows = storage.output("embeddings", shard).table(ROWS, ["raw_row"])
    clusters = storage.output(level_asset(1, "assign"), shard).table(ASSIGN_TABLE, ["cluster"])["cluster"]
    ran_out = np.asarray(storage.output("selection").array(RAN_OUT))[clusters.to_numpy()]
    rows = rows.with_columns(ran_out_at=pl.Series(ran_out))
    return rows[storage.output("admitted", shard).array(KEPT)] if spec.is_cleaned else rows


def _drawn(storage: PoolStorage, shard: str) -> pl.DataFrame:
    mine = part_of_shard(storage, SELECTED, shard, ["target", "raw_row"])
    return _fates(mine.group_by("raw_row").agg(pl.col("target").sort().alias("targets")), SELECTED_FATE)


def _not_one_fate_each(shard: str, n_rows: int, fates: pl.DataFrame) -> str:
    twice = fates.filter(pl.len().over("raw_row") > 1)
    words = f"{n_rows:,} rows of the raw pool, {len(fates):,} fates"
    if len(twice):
        row = twice["raw_row"][0]
        both = " and ".join(twice.filter(pl.col("raw_row") == row)["fate"])
        words += f", row {row} is {both}"
    return f"shard '{shard}': the ledger does not add up ({words}): re-run from raw_pool"
