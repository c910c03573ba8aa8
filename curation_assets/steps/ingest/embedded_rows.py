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
# Rows whose largest value is smaller lose digits as float16; rows of length 1 reach it up to 16,384 dimensions.
_SMALLEST_KEPT = 2.0**-7
_UNIT_TOLERANCE = 0.01


def as_stored(
    block: np.ndarray, metric: Metric, *, to_unit: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Embeddings as they are stored, and which of them can be used.

    Args:
        block: floats (m, d).
        metric: with 'cosine' only directions count: rows that float16 would lose, or lose digits of, are stored with
            length 1.
        to_unit: with 'cosine', also store all other rows with length 1, but those within 1 % of it as they are.

    Returns:
        float16 (m, d); bool (m,): finite and in the range of float16; bool (m,): not all zeros as float16.
    """
    finite = np.isfinite(block).all(axis=1)
    # float32 has no room for large float64; numpy computes with it several times faster than with float16.
    wide = block if block.dtype == np.float64 else block.astype(np.float32, copy=False)
    largest = np.abs(wide).max(axis=1, initial=0.0)
    if metric == "cosine":
        scaled = finite & (largest > 0) & ((largest < _SMALLEST_KEPT) | (largest > _LARGEST_FLOAT16))
        if to_unit:
            with np.errstate(over="ignore", invalid="ignore"):
                lengths = np.sqrt(np.einsum("ij,ij->i", wide, wide, dtype=np.float64))
            scaled |= finite & (largest > 0) & ~(np.abs(lengths - 1) <= _UNIT_TOLERANCE)
        if scaled.any():
            wide = wide.copy()
            wide[scaled] = _unit(wide[scaled])
            largest = np.where(scaled, 1.0, largest)
    with np.errstate(over="ignore", invalid="ignore"):
        stored = wide.astype("<f2")
    return stored, finite & (largest <= _LARGEST_FLOAT16), np.asarray(stored.any(axis=1))


def _unit(rows: np.ndarray) -> np.ndarray:
    """Rows of any length but 0, with length 1: float64 (m, d)."""
    # Squares of very large and very small values leave the range.
    wide = rows.astype(np.float64)
    wide /= np.abs(wide).max(axis=1, keepdims=True)
    return wide / np.sqrt(np.einsum("ij,ij->i", wide, wide))[:, None]


class EmbeddedRows:
    """Collects a shard's embeddings on disk, not in memory; `finish` completes the output.

    Args:
        writer: gets embeddings float16 (n, d), the rows' table and the rejected rows.
        dimension: length of an embedding.
        metric: 'cosine' rejects embeddings of length zero, which have no direction; see `as_stored`.
        to_unit: see `as_stored`.
    """

    def __init__(
        self, writer: OutputWriter, *, dimension: int, metric: Metric, to_unit: bool = False
    ) -> None:
        self._writer = writer
        self._dimension = dimension
        self._metric: Metric = metric
        self._to_unit = to_unit
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
        stored, fits, has_direction = as_stored(block, self._metric, to_unit=self._to_unit)
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
        wide = stored.astype(np.float32)
        self._sum_of_norms += float(np.sqrt(np.einsum("ij,ij->i", wide, wide)).sum(dtype=np.float64))
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
