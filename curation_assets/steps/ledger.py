"""ledger: exactly one fate for every sample of a shard."""

from __future__ import annotations

from collections import Counter

import polars as pl

from curation_assets.errors import CurationError
from curation_assets.formats.base import RejectionReason
from curation_assets.steps.ingest import TABLE as RAW_TABLE
from curation_assets.steps.select import DUPLICATES, SELECTED
from curation_assets.storage.embeddings import REJECTED
from curation_assets.storage.outputs import OutputWriter
from curation_assets.storage.pool_storage import PoolStorage

TABLE = "parquet"
SELECTED_FATE, NOT_SELECTED_FATE, REJECTED_FATE = "selected", "not_selected", "rejected"


def write_ledger(storage: PoolStorage, shard: str, writer: OutputWriter) -> None:
    """Store every row of the shard's raw pool with its fate, the reason of a rejection and its targets.

    Args:
        storage: the pool's outputs.
        shard: key of the shard.
        writer: gets sample_id, file, member, fate, reason, detail, targets.

    Raises:
        CurationError: if a sample would have two fates, or a selected one is not in the raw pool.
    """
    raw = storage.output("raw_pool", shard).table(RAW_TABLE)
    raw = raw.select("sample_id", "file", "member", "reason", "detail").with_row_index("raw_row")
    embedding = storage.output("embeddings", shard).table(REJECTED)
    selection = storage.output("selection")
    duplicates = selection.table(DUPLICATES).filter(pl.col("shard") == shard)
    refused = pl.concat(
        [
            embedding.select(pl.col("raw_row").cast(pl.UInt32), "reason", "detail"),
            duplicates.select(
                "raw_row",
                pl.lit(RejectionReason.DUPLICATE_ID.value).alias("reason"),
                pl.format("also in shard {}, which is kept", "kept_shard").alias("detail"),
            ),
        ]
    )
    chosen = selection.table(SELECTED, ["target", "shard", "raw_row"]).filter(pl.col("shard") == shard)
    targets = chosen.group_by("raw_row").agg(pl.col("target").sort().alias("targets"))
    ledger = (
        raw.join(refused, on="raw_row", how="left", suffix="_later", maintain_order="left")
        .join(targets, on="raw_row", how="left", maintain_order="left")
        .with_columns(
            reason=pl.coalesce("reason", "reason_later"),
            detail=pl.coalesce("detail", "detail_later"),
            targets=pl.col("targets").fill_null([]),
        )
    )
    selected, rejected = pl.col("targets").list.len() > 0, pl.col("reason").is_not_null()
    if (
        len(ledger) != len(raw)
        or len(ledger.filter(selected & rejected))
        or len(targets) != len(ledger.filter(selected))
    ):
        raise CurationError(
            f"shard '{shard}': the ledger does not add up ({len(raw)} rows of the raw pool, {len(ledger)} fates): "
            f"re-run from raw_pool"
        )
    fate = pl.when(selected).then(pl.lit(SELECTED_FATE)).when(rejected).then(pl.lit(REJECTED_FATE))
    ledger = ledger.with_columns(fate=fate.otherwise(pl.lit(NOT_SELECTED_FATE))).select(
        "sample_id", "file", "member", "fate", "reason", "detail", "targets"
    )
    writer.table(TABLE, ledger)
    fates = Counter(ledger["fate"].to_list())
    reasons = Counter(ledger["reason"].drop_nulls().to_list())
    writer.summary.update(
        n_rows=len(ledger), fates=dict(sorted(fates.items())), rejections=dict(sorted(reasons.items()))
    )
