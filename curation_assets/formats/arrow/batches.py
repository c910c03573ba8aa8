"""Streams the rows of Parquet files that may be cut or damaged; every row before the fault is read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from curation_assets.errors import ShardError
from curation_assets.formats.arrow.pages import PagedFile
from curation_assets.formats.arrow.types import require_names
from curation_assets.formats.base import DamagedFileError, RejectionReason
from curation_assets.formats.opening import StorageFile

MAGIC = b"PAR1"
BATCH_BYTES = 2**24
MAX_BATCH_ROWS = 1024
# Columns are read through buffers of this size; otherwise a large row group would be read whole.
_READ_BUFFER_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class ParquetBatches:
    """The rows of an open file, batch by batch."""

    _parquet: pq.ParquetFile
    _pages: PagedFile

    @property
    def schema(self) -> pa.Schema:
        """Columns with their Arrow types."""
        return self._parquet.schema_arrow

    @property
    def n_rows(self) -> int:
        """Rows by the footer."""
        return int(self._parquet.metadata.num_rows)

    def iterate(self, columns: list[str] | None) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Batches of some columns, or of all, each with the number of its first row.

        Raises:
            DamagedFileError: at the first batch that is damaged, and at the end if rows are missing.
            ShardError: if storage fails.
        """
        first_row = 0
        for group in range(self._parquet.metadata.num_row_groups):
            for batch in self._of_group(group, columns, first_row):
                yield first_row, batch
                first_row += batch.num_rows
        if first_row != self.n_rows:
            detail = f"the footer announces {self.n_rows:,} rows, but there are {first_row:,}: write the file again"
            raise DamagedFileError(RejectionReason.UNREADABLE_FILE, detail)

    def _of_group(self, group: int, columns: list[str] | None, first_row: int) -> Iterator[pa.RecordBatch]:
        """Batches of a row group; after a fault the rest is read row by row, so that no whole row is lost."""
        batch_size = self._batch_size(group)
        n_rows = 0
        for size in (batch_size, 1):
            batches = self._parquet.iter_batches(size, row_groups=[group], columns=columns, use_threads=False)
            try:
                for _ in range(n_rows if size == 1 else 0):
                    next(batches)
                while (batch := next(batches, None)) is not None:
                    yield batch
                    n_rows += batch.num_rows
                return
            except (ShardError, DamagedFileError):
                raise
            except Exception as error:
                # Damaged pages raise ArrowInvalid, OSError, NotImplementedError and more.
                fault = error
        detail = f"damaged after row {first_row + n_rows:,} ({first_line(fault)}): later rows are lost"
        raise DamagedFileError(RejectionReason.UNREADABLE_FILE, detail) from fault

    def _batch_size(self, group: int) -> int:
        """Rows of a row group that fit a batch."""
        size = self._pages.expect(group, self._parquet.schema)
        row_bytes = max(size.n_bytes / max(size.n_rows, 1), size.shared_bytes / 2, 1)
        return int(min(max(BATCH_BYTES / row_bytes, 1), MAX_BATCH_ROWS))


def open_batches(file: StorageFile) -> ParquetBatches:
    """Read the footer of a Parquet file.

    Raises:
        DamagedFileError: EMPTY_FILE if it has no bytes, else UNREADABLE_FILE.
        ShardError: if storage fails.
    """
    if file.size == 0:
        raise DamagedFileError(RejectionReason.EMPTY_FILE, "the file has no bytes")
    try:
        pages = PagedFile(file)
        parquet = pq.ParquetFile(pages, buffer_size=_READ_BUFFER_BYTES, pre_buffer=False)
        require_names(parquet.schema_arrow)
        return ParquetBatches(parquet, pages)
    except ShardError:
        raise
    except Exception as error:
        file.seek(0)
        begins = file.read(len(MAGIC)) == MAGIC
        what = "begins as Parquet but is cut or damaged" if begins else "not a Parquet file"
        detail = f"{what} ({first_line(error)})"
        raise DamagedFileError(RejectionReason.UNREADABLE_FILE, detail) from error


def first_line(error: Exception) -> str:
    """Type and first line of an error; pyarrow's messages go on with its source locations."""
    return f"{type(error).__name__}: {error}".splitlines()[0]
