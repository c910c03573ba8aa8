"""The output `embeddings` of a shard, written block by block. Rows that cannot be stored or clustered are rejected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING

import numpy as np
import polars as pl

from curation_assets.formats.base import RejectionReason
from curation_assets.storage.array_files import write_header
from curation_assets.storage.outputs import OutputWriter
from curation_assets.storage.tables import Embedded

if TYPE_CHECKING:
    from curation_assets.algorithms.settings import Metric

_LARGEST_FLOAT16 = float(np.finfo(np.float16).max)


def as_stored(block: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Embeddings as they are stored, and which of them can be used.

    Args:
        block: float32 (m, d): numpy computes with it several times faster than with float16.

    Returns:
        float16 (m, d); bool (m,): finite and in the range of float16; bool (m,): not all zeros as float16.
    """
    with np.errstate(over="ignore"):
        stored = block.astype("<f2")
    fits = np.isfinite(block).all(axis=1) & (np.abs(block).max(axis=1) <= _LARGEST_FLOAT16)
    return stored, fits, np.asarray(stored.any(axis=1))


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
        self._array = writer.file(Embedded.vectors.name)
        with self._array.open("wb") as file:
            self._write_header(file)

    @property
    def n_seen(self) -> int:
        """Samples added or rejected so far."""
        return self.n_kept + len(self._rejected)

    def reject(self, raw_row: int, reason: str, detail: str) -> None:
        """Record a sample that has no embedding."""
        self._rejected.append((raw_row, reason, detail))

    def add(self, block: np.ndarray, raw_rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Store the rows of a block that can be stored.

        Args:
            block: (m, d) floats.
            raw_rows: (m,): row of each in the shard's raw pool.

        Returns:
            int64: positions in the block of the embeddings that were stored; the others are rejected.
        """
        block = block.astype(np.float32, copy=False)
        stored, fits, has_direction = as_stored(block)
        usable = fits & (has_direction | (self._metric != "cosine"))
        for i in np.flatnonzero(~usable).tolist():
            what = (
                "is zero, so has no direction" if fits[i] else "holds NaN, infinity or values beyond float16"
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
        """Complete the output; `table` has raw_row, sample_id and id_hash of the raw pool's accepted samples."""
        with self._array.open("r+b") as file:
            self._write_header(file)
        kept = np.concatenate([np.empty(0, dtype=np.uint32), *self._kept])
        rows = pl.DataFrame({"raw_row": kept}).join(
            table.select("raw_row", "sample_id", "id_hash"), on="raw_row", how="left", maintain_order="left"
        )
        rejected = pl.DataFrame(self._rejected, schema=Embedded.rejected.schema, orient="row")
        Embedded.rows.write(self._writer, rows)
        Embedded.rejected.write(self._writer, rejected)
        self._writer.summary.update(
            n_rows=self.n_kept,
            dimension=self._dimension,
            n_rejected=len(self._rejected),
            rejections=dict(sorted(Counter(reason for _, reason, _ in self._rejected).items())),
            mean_norm=round(self._sum_of_norms / self.n_kept, 4) if self.n_kept else None,
        )

    def _write_header(self, file: IO[bytes]) -> None:
        write_header(file, "<f2", (self.n_kept, self._dimension))
