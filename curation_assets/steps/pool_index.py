"""What a draw and a report need of every embedded row of the pool, read from its shards."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from curation_assets.errors import CurationError
from curation_assets.lineage import level_asset
from curation_assets.pools import PoolSpec
from curation_assets.steps.assign import TABLE as ASSIGN_TABLE
from curation_assets.steps.soundness import require_assigned_rows
from curation_assets.storage.admission import KEPT
from curation_assets.storage.embeddings import ROWS
from curation_assets.storage.pool_storage import PoolStorage

COUNTS = "parquet"
"""Of the step token_counts: raw_row and n_tokens of the shard's accepted samples."""


@dataclass(frozen=True, slots=True)
class PoolIndex:
    """Columns of every embedded row, in canonical order: 21 bytes a row, 25 with tokens; twice that while read."""

    shards: list[str]
    starts: np.ndarray
    """int64 (n_shards + 1,): first row of each shard."""
    clusters: np.ndarray
    """int64 (n,): cluster at level 1."""
    distances: np.ndarray
    """float32 (n,): to the level-1 centroid."""
    id_hashes: np.ndarray
    """uint64 (n,)."""
    admissible: np.ndarray
    """bool (n,): may be selected: admitted by the cleaning, if there is one, and no repeated id."""
    repeated_ids: pl.DataFrame
    """Rows set aside because their id occurs in an earlier shard: shard, raw_row, sample_id, kept_shard."""
    n_tokens: np.ndarray | None
    """uint32 (n,); None if the pool's tokens are not counted."""

    @classmethod
    def read(cls, spec: PoolSpec, storage: PoolStorage) -> PoolIndex:
        """Collect the columns of all shards.

        An id counts for the first of its rows that is admitted: what was excluded stands in nobody's way.

        Raises:
            CurationError: if the assigned, admitted or counted rows of a shard are not those embedded.
        """
        shards = [shard.key for shard in storage.shards()]
        assigned = [storage.output(level_asset(1, "assign"), shard).table(ASSIGN_TABLE) for shard in shards]
        hashes, admitted, tokens = [], [], []
        for shard, table in zip(shards, assigned, strict=True):
            rows = storage.output("embeddings", shard).table(ROWS, ["raw_row", "id_hash"])
            require_assigned_rows(shard, len(rows), len(table))
            hashes.append(rows["id_hash"].to_numpy())
            admitted.append(_admitted(spec, storage, shard, len(rows)))
            if spec.counts_tokens:
                tokens.append(_token_counts(storage, shard, rows["raw_row"]))
        starts = np.concatenate([[0], np.cumsum([len(table) for table in assigned])]).astype(np.int64)
        id_hashes, admissible = np.concatenate(hashes), np.concatenate(admitted)
        repeated = _repeated_ids(shards, starts, id_hashes, admissible, storage)
        admissible[repeated["pool_row"].to_numpy()] = False
        return cls(
            shards,
            starts,
            np.concatenate([table["cluster"].to_numpy() for table in assigned]),
            np.concatenate([table["distance"].to_numpy() for table in assigned]),
            id_hashes,
            admissible,
            repeated.drop("pool_row"),
            np.concatenate(tokens) if spec.counts_tokens else None,
        )

    def locate(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Shard number and row inside the shard of pool rows."""
        return _locate(self.starts, rows)


def _locate(starts: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    shard = np.searchsorted(starts, rows, side="right") - 1
    return shard, rows - starts[shard]


def _admitted(spec: PoolSpec, storage: PoolStorage, shard: str, n_rows: int) -> np.ndarray:
    if not spec.is_cleaned:
        return np.ones(n_rows, dtype=bool)
    output = storage.output("admitted", shard)
    summary, kept = output.require_facts().summary, output.array(KEPT)
    if len(kept) + summary["n_excluded"] != n_rows:
        raise CurationError(
            f"shard '{shard}': {n_rows:,} rows are embedded, but {len(kept):,} admitted and "
            f"{summary['n_excluded']:,} excluded: run admitted of it again"
        )
    admitted = np.zeros(n_rows, dtype=bool)
    admitted[kept] = True
    return admitted


def _token_counts(storage: PoolStorage, shard: str, raw_rows: pl.Series) -> np.ndarray:
    counts = storage.output("token_counts", shard).table(COUNTS, ["raw_row", "n_tokens"])
    found = raw_rows.to_frame().join(
        counts.with_columns(pl.col("raw_row").cast(raw_rows.dtype)),
        on="raw_row",
        how="left",
        maintain_order="left",
    )
    if len(found) != len(raw_rows) or found["n_tokens"].null_count():
        raise CurationError(
            f"shard '{shard}': {len(raw_rows):,} rows are embedded, but tokens are counted of "
            f"{len(found) - found['n_tokens'].null_count():,}: run token_counts of it again"
        )
    return found["n_tokens"].cast(pl.UInt32).to_numpy()


def counted_tokens(storage: PoolStorage, rows: pl.DataFrame) -> int:
    """Tokens of the rows named by shard and raw_row, as they were counted.

    Raises:
        CurationError: if one of them was not counted.
    """
    total = 0
    for (shard,), mine in rows.partition_by("shard", as_dict=True).items():
        total += int(_token_counts(storage, str(shard), mine["raw_row"]).sum(dtype=np.int64))
    return total


def _repeated_ids(
    shards: list[str], starts: np.ndarray, id_hashes: np.ndarray, admitted: np.ndarray, storage: PoolStorage
) -> pl.DataFrame:
    """Admitted rows whose sample id occurs in an earlier shard, with the shard that is kept."""
    rows = np.flatnonzero(admitted)
    order = rows[np.argsort(id_hashes[rows], kind="stable")]
    hashes = id_hashes[order]
    same = hashes[1:] == hashes[:-1]
    suspects = np.sort(order[np.concatenate([[False], same]) | np.concatenate([same, [False]])])
    shard, row = _locate(starts, suspects)
    parts = [
        pl.DataFrame(
            schema={"raw_row": pl.UInt32, "sample_id": pl.String, "pool_row": pl.Int64, "shard": pl.String}
        )
    ]
    for number in np.unique(shard):
        mine = np.flatnonzero(shard == number)
        ids = storage.output("embeddings", shards[number]).table(ROWS, ["raw_row", "sample_id"])[row[mine]]
        parts.append(ids.with_columns(pool_row=suspects[mine], shard=pl.lit(shards[number])))
    # Equal hashes of different ids are possible, if rare: the ids themselves decide.
    return (
        pl.concat(parts)
        .with_columns(kept_shard=pl.col("shard").first().over("sample_id"))
        .filter(pl.col("shard") != pl.col("kept_shard"))
        .select("pool_row", "shard", "raw_row", "sample_id", "kept_shard")
    )
