"""What deduplication knows of every embedded row: its digests, its size, and which of two stays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from curation_assets.pools import PoolSpec
from curation_assets.storage.fingerprint import fingerprint
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.shards import locate
from curation_assets.storage.tables import Contaminated, Duplicates, Embedded, RawPool

_HEX_DIGITS = 15


@dataclass(frozen=True, slots=True)
class DuplicateRows:
    """Columns of every embedded row, in the order of shard keys, then rows: 58 bytes a row."""

    shards: list[str]
    embedded: list[Embedded]
    """Of each shard."""
    starts: np.ndarray
    """int64 (n_shards + 1,): first row of each shard."""
    digests: list[str]
    """Of each shard: changes with its raw rows or embeddings."""
    id_hashes: np.ndarray
    """uint64 (n,)."""
    sizes: np.ndarray
    """int64 (n,): characters of a text, else bytes."""
    contents: np.ndarray
    """uint64 (n, 2): 120 bits of the content's digest."""
    texts: np.ndarray
    """uint64 (n, 2): 120 bits of the normalised text's digest, of the content's where there is none."""
    has_digest: np.ndarray
    """bool (n,)."""
    contaminated: np.ndarray
    """bool (n,)."""
    blank: np.ndarray
    """bool (n,): images that show one colour only, whose embeddings tell nothing."""

    @classmethod
    def read(cls, spec: PoolSpec, storage: PoolStorage) -> DuplicateRows:
        """Collect the columns, shard by shard."""
        shards = sorted(shard.key for shard in storage.shards())
        embedded = [storage.embedded(shard) for shard in shards]
        size = "n_characters" if spec.modality == "text" else "size_bytes"
        parts = [
            _read_shard(
                storage.raw_pool(shard),
                mine,
                storage.contaminated(shard) if spec.decontamination else None,
                size,
            )
            for shard, mine in zip(shards, embedded, strict=True)
        ]
        sizes = [len(part) for part, _ in parts]
        every = pl.concat([part for part, _ in parts]) if parts else pl.DataFrame(schema=_COLUMNS)
        return cls(
            shards,
            embedded,
            np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
            [digest for _, digest in parts],
            every["id_hash"].to_numpy(),
            every["size"].to_numpy(),
            every.select("content_1", "content_2").to_numpy(),
            every.select("text_1", "text_2").to_numpy(),
            every["has_digest"].to_numpy(),
            every["contaminated"].to_numpy(),
            every["blank"].to_numpy(),
        )

    @property
    def n_rows(self) -> int:
        """Rows of all shards."""
        return int(self.starts[-1])

    def names(self, rows: np.ndarray) -> pl.DataFrame:
        """Shard, row, raw_row and sample_id of pool rows, in the order given."""
        shard, row = locate(self.starts, rows)
        parts = [pl.DataFrame(schema={"at": pl.Int64, "shard": pl.String, "row": pl.UInt32} | _NAMED)]
        for number in np.unique(shard):
            mine = np.flatnonzero(shard == number)
            named = self.embedded[number].rows.read(*_NAMED)[row[mine]]
            parts.append(
                named.select(
                    pl.Series("at", mine, pl.Int64),
                    pl.lit(self.shards[number]).alias("shard"),
                    pl.Series("row", row[mine], pl.UInt32),
                    *(pl.col(name).cast(dtype) for name, dtype in _NAMED.items()),
                )
            )
        return pl.concat(parts).sort("at").drop("at")

    def judged(self) -> pl.DataFrame:
        """The table of shards that is stored with the decisions."""
        columns = {"shard": self.shards, "digest": self.digests, "n_rows": np.diff(self.starts)}
        return pl.DataFrame(columns, schema=Duplicates.judged.schema)

    def left_out(self) -> pl.DataFrame:
        """The contaminated rows, which were not judged."""
        shard, row = locate(self.starts, np.flatnonzero(self.contaminated))
        names = np.array(self.shards, dtype=object)[shard]
        return pl.DataFrame({"shard": names.tolist(), "row": row}, schema=Duplicates.left_out.schema)


_NAMED = {"raw_row": pl.UInt32, "sample_id": pl.String}
_COLUMNS = {
    "id_hash": pl.UInt64,
    "size": pl.Int64,
    **dict.fromkeys(("content_1", "content_2", "text_1", "text_2"), pl.UInt64),
    "has_digest": pl.Boolean,
    "contaminated": pl.Boolean,
    "blank": pl.Boolean,
}


def _read_shard(
    raw_pool: RawPool, embedded: Embedded, contaminated: Contaminated | None, size: str
) -> tuple[pl.DataFrame, str]:
    """The columns of a shard's rows, and the digest of what they are read from; `size` is the column of sizes."""
    digest = fingerprint(
        [raw_pool.require_facts().digest_of(RawPool.CONTENT), embedded.require_facts().digest]
    )
    rows = embedded.rows.read("raw_row", "id_hash")
    raw = raw_pool.samples.read("content_sha256", "normalized_sha256", size)
    raw_rows = raw[rows["raw_row"].to_numpy()]
    content = pl.col("content_sha256")
    text = pl.coalesce("normalized_sha256", "content_sha256")
    left_out = np.zeros(len(rows), dtype=bool)
    if contaminated:
        left_out[contaminated.evidence.column("row").to_numpy()] = True
    blank = np.zeros(len(rows), dtype=bool)
    blank[embedded.blank_rows()] = True
    table = raw_rows.select(
        pl.Series("id_hash", rows["id_hash"], pl.UInt64),
        pl.col(size).fill_null(0).cast(pl.Int64).alias("size"),
        *(_bits(content, part).alias(f"content_{part}") for part in (1, 2)),
        *(_bits(text, part).alias(f"text_{part}") for part in (1, 2)),
        text.is_not_null().alias("has_digest"),
        pl.Series("contaminated", left_out, pl.Boolean),
        pl.Series("blank", blank, pl.Boolean),
    )
    return table, digest


def _bits(digest: pl.Expr, part: int) -> pl.Expr:
    """60 bits of a hexadecimal digest; 0 where there is none."""
    digits = digest.str.slice((part - 1) * _HEX_DIGITS, _HEX_DIGITS)
    return digits.str.to_integer(base=16, dtype=pl.Int64).fill_null(0).cast(pl.UInt64)


def keep_order(
    spec: PoolSpec,
    rows: DuplicateRows,
    part: np.ndarray,
    is_open: np.ndarray,
    similarities: np.ndarray | None = None,
) -> np.ndarray:
    """Rank of rows by the pool's rule, int64 (p,); 0 is the first to stay.

    Args:
        spec: the pool.
        rows: all rows.
        part: int64 (p,): those to rank.
        is_open: bool (p,): rows kept earlier come before open ones.
        similarities: float64 (p,): to the own coarse centroid; None where there is none, as among equal samples.
    """
    keep = spec.deduplication.keep if spec.deduplication else "first"
    keys: list[np.ndarray] = [part]
    if keep == "largest":
        keys += [rows.id_hashes[part], -rows.sizes[part]]
    elif keep == "closest":
        # Hashes of ids break ties, so that the names of shards do not matter.
        keys += [rows.id_hashes[part], *([-similarities] if similarities is not None else [])]
    order = np.lexsort((*keys, is_open))
    rank = np.empty(len(part), dtype=np.int64)
    rank[order] = np.arange(len(part))
    return rank
