"""ledger: exactly one fate for every sample of a shard."""

from __future__ import annotations

from collections import Counter

import numpy as np
import polars as pl

from curation_assets.errors import CurationError
from curation_assets.formats.base import RejectionReason
from curation_assets.steps.context import StepContext
from curation_assets.steps.dataset.shard_tables import ShardTables
from curation_assets.storage.fates import (
    CONTAMINATED_FATE,
    DUPLICATE_FATE,
    KIND_WORDS,
    NOT_SELECTED_FATE,
    REJECTED_FATE,
    SELECTED_FATE,
)
from curation_assets.storage.tables import Admitted, Ledger, Selection


def write_ledger(step: StepContext) -> None:
    """Store every row of the shard's raw pool with its fate and what decided it, as `Ledger.fates`.

    Raises:
        CurationError: if a sample would have two fates or none, or a step names a row that the raw pool lacks.
    """
    spec, storage, writer, shard = step.spec, step.storage, step.writer, step.shard.key
    raw = storage.raw_pool(shard).samples.read("sample_id", "file", "member", "reason", "detail")
    tables, selection = ShardTables.of(spec, storage, shard), storage.selection()
    n_rows = len(raw)
    rejected = raw.with_row_index("raw_row").filter(pl.col("reason").is_not_null())
    fates = pl.concat(
        [
            _fates(rejected, REJECTED_FATE),
            _fates(tables.embedded.rejected.read(), REJECTED_FATE),
            _fates(_repeated_ids(selection, shard), REJECTED_FATE),
            *(_excluded(tables.admitted) if tables.admitted else []),
            _drawn(selection, shard),
        ]
    )
    undecided = _admissible(tables, selection).join(fates, on="raw_row", how="anti", maintain_order="left")
    fates = pl.concat([fates, _fates(undecided, NOT_SELECTED_FATE)]).sort("raw_row")
    if not np.array_equal(fates["raw_row"].to_numpy(), np.arange(n_rows)):
        raise CurationError(_not_one_fate_each(shard, n_rows, fates))
    ledger = pl.concat([raw.drop("reason", "detail"), fates.drop("raw_row")], how="horizontal")
    Ledger.fates.write(writer, ledger.select(list(Ledger.fates.schema)))
    reasons = Counter(ledger["reason"].drop_nulls().to_list())
    counts = Counter(ledger["fate"].to_list())
    ran_out_at = Counter(ledger["ran_out_at"].drop_nulls().to_list())
    writer.summary.update(
        n_rows=n_rows,
        fates=dict(sorted(counts.items())),
        rejections=dict(sorted(reasons.items())),
        ran_out_at={str(level): count for level, count in sorted(ran_out_at.items())},
    )
    step.report(1.0, f"{n_rows:,} samples")


def _fates(table: pl.DataFrame, fate: str) -> pl.DataFrame:
    """The table's raw_row, and the ledger's columns; those that the table lacks are null."""
    schema = Ledger.fates.schema
    empty = {name: pl.lit(None, dtype) for name, dtype in schema.items() if name not in table.columns}
    return table.with_columns(**{**empty, "fate": pl.lit(fate)}).select(
        pl.col("raw_row").cast(pl.UInt32),
        *(pl.col(name).cast(dtype) for name, dtype in list(schema.items())[3:-1]),
        pl.col("targets").cast(pl.List(pl.String)).fill_null([]),
    )


def _repeated_ids(selection: Selection, shard: str) -> pl.DataFrame:
    return selection.repeated_ids.part("shard", shard).select(
        "raw_row",
        reason=pl.lit(RejectionReason.DUPLICATE_ID.value),
        detail=pl.format("also in shard {}, which is kept", "kept_shard"),
    )


def _excluded(admitted: Admitted) -> list[pl.DataFrame]:
    table = admitted.excluded.read()
    if unknown := set(table["fate"]) - {DUPLICATE_FATE, CONTAMINATED_FATE}:
        raise CurationError(
            f"shard '{admitted.shard}': rows were excluded as {sorted(unknown)}: run admitted of it again"
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


def _admissible(tables: ShardTables, selection: Selection) -> pl.DataFrame:
    """raw_row of the rows that the tree was drawn from, and where their quotas ran out."""
    clusters = tables.assigned.rows.column("cluster").to_numpy()
    ran_out = np.asarray(selection.ran_out_at.read())[clusters]
    rows = tables.embedded.rows.read("raw_row").with_columns(ran_out_at=pl.Series(ran_out))
    return rows[tables.admitted.kept.read()] if tables.admitted else rows


def _drawn(selection: Selection, shard: str) -> pl.DataFrame:
    mine = selection.selected.part("shard", shard, "target", "raw_row")
    return _fates(mine.group_by("raw_row").agg(pl.col("target").sort().alias("targets")), SELECTED_FATE)


def _not_one_fate_each(shard: str, n_rows: int, fates: pl.DataFrame) -> str:
    twice = fates.filter(pl.len().over("raw_row") > 1)
    words = f"{n_rows:,} rows of the raw pool, {len(fates):,} fates"
    if len(twice):
        row = twice["raw_row"][0]
        both = " and ".join(twice.filter(pl.col("raw_row") == row)["fate"])
        words += f", row {row} is {both}"
    return f"shard '{shard}': the ledger does not add up ({words}): re-run from raw_pool"
