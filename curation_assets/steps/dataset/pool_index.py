"""What a draw and a report need of every embedded row of the pool, read from its shards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from curation_assets.errors import CurationError
from curation_assets.steps.dataset.shard_tables import ShardTables
from curation_assets.steps.soundness import require_assigned_rows
from curation_assets.storage.shards import locate
from curation_assets.storage.tables import Admitted, TokenCounts

_COLUMNS = ("clusters", "distances", "id_hashes", "admitted", "n_tokens")
_TABLE_BITS = 22
_CHUNK_ROWS = 2**22


@dataclass(frozen=True, slots=True)
class PoolIndex:
    """Columns of every embedded row, in canonical order: 17 bytes a row, 21 with tokens; 27 while it is read."""

    shards: list[str]
    starts: np.ndarray
    """int64 (n_shards + 1,): first row of each shard."""
    clusters: np.ndarray
    """int32 (n,): cluster at level 1."""
    distances: np.ndarray
    """float32 (n,): to the level-1 centroid."""
    id_hashes: np.ndarray
    """uint64 (n,)."""
    admissible: np.ndarray
    """bool (n,): may be selected, that is admitted by the cleaning (if any) and without a repeated id."""
    repeated_ids: pl.DataFrame
    """Rows set aside because their id occurs in an earlier shard: shard, raw_row, sample_id, kept_shard."""
    n_tokens: np.ndarray | None
    """uint32 (n,); None if the pool's tokens are not counted."""

    @classmethod
    def read(cls, tables: Sequence[ShardTables]) -> PoolIndex:
        """Collect the columns of all shards.

        An id counts for its first admitted row; excluded rows do not keep other rows out.

        Raises:
            CurationError: if the assigned, admitted or counted rows of a shard differ from its embedded rows.
        """
        columns: dict[str, list[np.ndarray]] = {name: [] for name in _COLUMNS}
        for shard in tables:
            assigned = shard.assigned.rows.read()
            rows = shard.embedded.rows.read("id_hash", *(["raw_row"] if shard.token_counts else []))
            require_assigned_rows(shard.key, len(rows), len(assigned))
            columns["clusters"].append(assigned["cluster"].cast(pl.Int32).to_numpy())
            columns["distances"].append(assigned["distance"].to_numpy())
            columns["id_hashes"].append(rows["id_hash"].to_numpy())
            columns["admitted"].append(_admitted(shard.admitted, len(rows)))
            if shard.token_counts:
                columns["n_tokens"].append(_token_counts(shard.token_counts, rows["raw_row"]))
        starts = np.cumsum([0, *map(len, columns["clusters"])], dtype=np.int64)
        # Column by column, so that the parts of one are freed before the next is joined.
        joined = {name: np.concatenate(columns.pop(name)) for name in _COLUMNS if columns[name]}
        admissible = joined["admitted"]
        repeated = _repeated_ids(tables, starts, joined["id_hashes"], admissible)
        admissible[repeated["pool_row"].to_numpy()] = False
        return cls(
            [shard.key for shard in tables],
            starts,
            joined["clusters"],
            joined["distances"],
            joined["id_hashes"],
            admissible,
            repeated.drop("pool_row"),
            joined.get("n_tokens"),
        )

    def locate(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Shard number and row inside the shard of pool rows."""
        return locate(self.starts, rows)


def _admitted(stored: Admitted | None, n_rows: int) -> np.ndarray:
    if stored is None:
        return np.ones(n_rows, dtype=bool)
    summary, kept = stored.require_facts().summary, stored.kept.read()
    if len(kept) + summary["n_excluded"] != n_rows:
        raise CurationError(
            f"shard '{stored.shard}': {n_rows:,} rows are embedded, but {len(kept):,} admitted and "
            f"{summary['n_excluded']:,} excluded: run admitted of it again"
        )
    admitted = np.zeros(n_rows, dtype=bool)
    admitted[kept] = True
    return admitted


def _token_counts(stored: TokenCounts, raw_rows: pl.Series) -> np.ndarray:
    counts = stored.counts.read("raw_row", "n_tokens")
    found = raw_rows.to_frame().join(
        counts.with_columns(pl.col("raw_row").cast(raw_rows.dtype)),
        on="raw_row",
        how="left",
        maintain_order="left",
    )
    if len(found) != len(raw_rows) or found["n_tokens"].null_count():
        raise CurationError(
            f"shard '{stored.shard}': {len(raw_rows):,} rows are embedded, but tokens are counted for "
            f"{len(found) - found['n_tokens'].null_count():,}: run token_counts of it again"
        )
    return found["n_tokens"].cast(pl.UInt32).to_numpy()


def counted_tokens(counts_of: Callable[[str], TokenCounts], rows: pl.DataFrame) -> int:
    """Tokens of the rows named by shard and raw_row, as they were counted.

    Raises:
        CurationError: if one of them was not counted.
    """
    total = 0
    for (shard,), mine in rows.partition_by("shard", as_dict=True).items():
        total += int(_token_counts(counts_of(str(shard)), mine["raw_row"]).sum(dtype=np.int64))
    return total


def _repeated_ids(
    tables: Sequence[ShardTables], starts: np.ndarray, id_hashes: np.ndarray, admitted: np.ndarray
) -> pl.DataFrame:
    """Admitted rows whose sample id occurs in an earlier shard, with the shard that is kept."""
    suspects = _rows_of_equal_hashes(id_hashes, admitted)
    bounds = np.searchsorted(suspects, starts)
    parts = [
        pl.DataFrame(
            schema={"raw_row": pl.UInt32, "sample_id": pl.String, "pool_row": pl.Int64, "shard": pl.String}
        )
    ]
    for number in np.flatnonzero(np.diff(bounds)).tolist():
        mine = suspects[bounds[number] : bounds[number + 1]]
        ids = tables[number].embedded.rows.read("raw_row", "sample_id")[mine - starts[number]]
        parts.append(ids.with_columns(pool_row=mine, shard=pl.lit(tables[number].key)))
    # Different ids can have equal hashes, though rarely, so the ids themselves decide.
    return (
        pl.concat(parts)
        .with_columns(kept_shard=pl.col("shard").first().over("sample_id"))
        .filter(pl.col("shard") != pl.col("kept_shard"))
        .select("pool_row", "shard", "raw_row", "sample_id", "kept_shard")
    )


def _rows_of_equal_hashes(hashes: np.ndarray, admitted: np.ndarray) -> np.ndarray:
    """Admitted rows that share their hash with another, int64, ascending; takes 8 bytes a row."""
    ordered = np.sort(hashes) if admitted.all() else np.sort(hashes[admitted])
    repeated = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    del ordered
    if not len(repeated):
        return np.zeros(0, dtype=np.int64)
    # A small table of their first bits spares nearly all rows the search.
    shift = np.uint64(64 - _TABLE_BITS)
    occurs = np.zeros(2**_TABLE_BITS, dtype=bool)
    occurs[repeated >> shift] = True
    found = []
    for start in range(0, len(hashes), _CHUNK_ROWS):
        part = slice(start, start + _CHUNK_ROWS)
        rows = start + np.flatnonzero(occurs[hashes[part] >> shift] & admitted[part])
        nearest = repeated[np.minimum(np.searchsorted(repeated, hashes[rows]), len(repeated) - 1)]
        found.append(rows[nearest == hashes[rows]])
    return np.concatenate(found)
