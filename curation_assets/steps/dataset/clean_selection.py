"""The proof that a selection is clean: compared with the evaluation sets again, not looked up in the evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from curation_assets.errors import CurationError
from curation_assets.pools import PoolSpec
from curation_assets.steps.cleaning.contaminated import (
    EvaluationSamples,
    ShardRows,
    compare,
    required_settings,
)
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.tables import Duplicates

_ROWS_NAMED = 5


@dataclass(frozen=True, slots=True)
class Proof:
    """Every selected row against every evaluation sample."""

    n_rows: int
    """Selected rows; a row that several targets share counts once."""
    n_comparisons: int
    found: pl.DataFrame
    """The columns of `Duplicates.evidence`: empty for a clean selection."""
    closest: dict[str, Any] | None
    """shard, sample_id, twin_set, twin_id and cosine of the closest pair that remains; None without embeddings."""

    @property
    def summary(self) -> str:
        """The outcome, for people."""
        if self.found.is_empty():
            return f"none of {self.n_rows:,} selected samples is too close to an evaluation sample"
        named = [
            f"'{row['sample_id']}' of shard '{row['shard']}' ({row['kind']}: '{row['twin_id']}' of {row['twin_set']}, "
            f"{row['similarity']:.4f})"
            for row in self.found.head(_ROWS_NAMED).to_dicts()
        ]
        return f"{len(self.found)} of {self.n_rows:,} selected samples are contaminated: {', '.join(named)}"


def contaminated_selection(
    spec: PoolSpec, storage: PoolStorage, selected: pl.DataFrame | None = None, *, device: str = "cpu"
) -> Proof:
    """Compare the selected rows to every evaluation sample, from the stored raw pool and embeddings.

    Memory is bounded by the selected rows of one shard.

    Args:
        spec: a pool with decontamination.
        storage: its outputs.
        selected: shard, row, raw_row, sample_id of the rows; those of the stored selection if not given.
        device: torch device.

    Raises:
        CurationError: if a row is not the sample that its id names.
    """
    settings = required_settings(spec)
    samples = EvaluationSamples.read(storage.evaluation_sets())
    columns = ["shard", "row", "raw_row", "sample_id"]
    if selected is None:
        selected = storage.selection().selected.read(*columns)
    rows = selected.select(columns).unique(maintain_order=True)
    parts = [Duplicates.evidence.empty()]
    closest: dict[str, Any] | None = None
    for (shard,), mine in rows.partition_by("shard", as_dict=True, maintain_order=True).items():
        every = ShardRows.read(
            storage.raw_pool(str(shard)), storage.embedded(str(shard)), samples, storage.pool
        )
        _require_same_samples(str(shard), mine, every.table)
        chosen = every.take(mine["row"].to_numpy())
        compared = compare(chosen, samples, settings, device=device)
        parts.append(compared.evidence.select(pl.lit(shard, pl.String).alias("shard"), pl.all()))
        remaining = ~chosen.table["row"].is_in(compared.evidence["row"].implode()).to_numpy()
        cosines = np.where(remaining & (compared.closest >= 0), compared.cosines, -np.inf)
        best = int(cosines.argmax())
        if np.isfinite(cosines[best]) and (closest is None or cosines[best] > closest["cosine"]):
            twin = samples.table.row(int(compared.closest[best]), named=True)
            closest = {
                "shard": shard,
                "sample_id": chosen.table["sample_id"][best],
                "twin_set": twin["set"],
                "twin_id": twin["sample_id"],
                "cosine": float(cosines[best]),
            }
    return Proof(len(rows), len(rows) * len(samples.table), pl.concat(parts), closest)


def require_clean_rows(
    spec: PoolSpec, storage: PoolStorage, selected: pl.DataFrame, *, device: str = "cpu"
) -> None:
    """Gate before a selection is written, because Dagster's blocking checks do not stop later runs.

    `selected` has shard, row, raw_row and sample_id. Without decontamination the gate is open.

    Raises:
        CurationError: naming selected rows that are too close to an evaluation sample.
    """
    if spec.decontamination is None:
        return
    proof = contaminated_selection(spec, storage, selected, device=device)
    if len(proof.found):
        raise CurationError(
            f"{proof.summary}: curation-assets backfill --pool {spec.name} --from contaminated"
        )


def _require_same_samples(shard: str, selected: pl.DataFrame, rows: pl.DataFrame) -> None:
    stored = rows.select(pl.col("row").cast(pl.Int64), "raw_row", stored_id="sample_id")
    joined = selected.with_columns(pl.col("row").cast(pl.Int64), pl.col("raw_row").cast(pl.UInt32)).join(
        stored, on=["row", "raw_row"], how="left", maintain_order="left"
    )
    wrong = joined.filter(pl.col("stored_id").is_null() | (pl.col("stored_id") != pl.col("sample_id")))
    if len(wrong):
        row = wrong.row(0, named=True)
        raise CurationError(
            f"shard '{shard}': selected row {row['row']} says it is sample '{row['sample_id']}' (row "
            f"{row['raw_row']} of the raw pool), but the embeddings do not: run selection again"
        )
