"""The output `embeddings` of a shard, written block by block: what cannot be stored or clustered is rejected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from curation_assets.formats.base import RejectionReason
from curation_assets.storage.embeddings import ARRAY, REJECTED, ROWS
from curation_assets.storage.outputs import OutputWriter

if TYPE_CHECKING:
    from curation_assets.pools import Metric

_LARGEST_FLOAT16 = float(np.finfo(np.float16).max)
_REJECTED_SCHEMA: dict[str, Any] = {"raw_row": pl.Int64, "reason": pl.String, "detail": pl.String}


class EmbeddedRows:
    """Collects a shard's embeddings on disk, not in memory; `finish` completes the output.

    Args:
        writer: gets embeddings float16 (n, d), the rows' table and the rejected rows.
        dimension: length of an embedding.
        metric: 'cosine' rejects embeddings of length zero, which have no direction.
    """

    def __init__(self, writer: OutputWriter, *, dimension: int, metric: Metric) -> None:
        self._writer = writer
        self._dimension = dimension
        self._metric = metric
        self._kept: list[np.ndarray] = []
        self._rejected: list[tuple[int, str, str]] = []
        self._sum_of_norms = 0.0
        self.n_kept = 0
        self._array = writer.file(ARRAY)
        with self._array.open("wb") as file:
            self._write_header(file)

    @property
    def n_seen(self) -> int:
        """Samples that were added or rejected so far."""
        return self.n_kept + len(self._rejected)

    def reject(self, raw_row: int, reason: str, detail: str) -> None:
        """Record a sample that has no embedding."""
        self._rejected.append((raw_row, reason, detail))

    def add(self, block: np.ndarray, raw_rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Store what of a block can be stored.

        Args:
            block: (m, d) floats.
            raw_rows: (m,): row of each in the shard's raw pool.

        Returns:
            int64: positions in the block of the embeddings that were stored; the others are rejected.
        """
        with np.errstate(over="ignore"):
            # float32 on the way: numpy computes with it several times faster than with float16.
            block = block.astype(np.float32, copy=False)
            stored = block.astype("<f2")
        finite = np.isfinite(block).all(axis=1) & (np.abs(block).max(axis=1) <= _LARGEST_FLOAT16)
        usable = finite & (stored.any(axis=1) | (self._metric != "cosine"))
        for i in np.flatnonzero(~usable).tolist():
            what = (
                "is zero, so has no direction"
                if finite[i]
                else "holds NaN, infinity or values beyond float16"
            )
            self.reject(int(raw_rows[i]), RejectionReason.NON_FINITE_EMBEDDING.value, f"the embedding {what}")
        stored = stored[usable]
        with self._array.open("ab") as file:
            file.write(stored.tobytes())
        self._kept.append(np.asarray(raw_rows, dtype=np.uint32)[usable])
        squares = np.einsum("ij,ij->i", block, block)[usable]
        self._sum_of_norms += float(np.sqrt(squares).sum(dtype=np.float64))
        self.n_kept += len(stored)
        return np.flatnonzero(usable)

    def finish(self, table: pl.DataFrame) -> None:
        """Complete the output.

        Args:
            table: the raw pool's accepted samples: raw_row, sample_id, id_hash.
        """
        with self._array.open("r+b") as file:
            self._write_header(file)
        kept = np.concatenate([np.empty(0, dtype=np.uint32), *self._kept])
        rows = pl.DataFrame({"raw_row": kept}).join(
            table.select("raw_row", "sample_id", "id_hash"), on="raw_row", how="left", maintain_order="left"
        )
        self._writer.table(ROWS, rows)
        self._writer.table(REJECTED, pl.DataFrame(self._rejected, schema=_REJECTED_SCHEMA, orient="row"))
        self._writer.summary.update(
            n_rows=self.n_kept,
            dimension=self._dimension,
            n_rejected=len(self._rejected),
            rejections=dict(sorted(Counter(reason for _, reason, _ in self._rejected).items())),
            mean_norm=round(self._sum_of_norms / self.n_kept, 4) if self.n_kept else None,
        )

    def _write_header(self, file: Any) -> None:
        # Every header of one dimension is equally long: numpy leaves room for the number of rows to grow.
        shape = (self.n_kept, self._dimension)
        np.lib.format.write_array_header_1_0(file, {"descr": "<f2", "fortran_order": False, "shape": shape})
