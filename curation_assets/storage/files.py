"""Stored files as outputs declare them: the declaration on the class, a handle that reads the file on the output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import polars as pl
from upath import UPath

from curation_assets.locations import is_local
from curation_assets.storage.outputs import Output, OutputWriter

if TYPE_CHECKING:
    import pyarrow.parquet as pq


@dataclass(frozen=True, slots=True)
class Table:
    """A Parquet file of an output.

    As an attribute of a class of outputs: `RawPool.samples` is the declaration, `storage.raw_pool(shard).samples` the
    stored table.

    Args:
        schema: column -> polars type. A pool's settings may add columns, which are named where the table is declared.
    """

    name: str
    schema: Mapping[str, Any]

    @overload
    def __get__(self, output: None, owner: type) -> Table: ...
    @overload
    def __get__(self, output: Output, owner: type) -> StoredTable: ...
    def __get__(self, output: Output | None, owner: type) -> Table | StoredTable:
        return self if output is None else self.of(output)

    def of(self, output: Output) -> StoredTable:
        """The table as an output stores it."""
        return StoredTable(output, self.name)

    def write(self, writer: OutputWriter, table: pl.DataFrame) -> None:
        """Store a table under the declared name."""
        writer.table(self.name, table)

    def empty(self) -> pl.DataFrame:
        """No rows of the declared columns."""
        return pl.DataFrame(schema=self.schema)

    def cast(self, table: pl.DataFrame) -> pl.DataFrame:
        """The declared columns of a table, in their order and with their types."""
        return table.select(pl.col(name).cast(dtype) for name, dtype in self.schema.items())


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A declared file of one output."""

    output: Output
    name: str

    @property
    def path(self) -> UPath:
        """Path of the stored file."""
        return self.output.path(self.name)


class StoredTable(StoredFile):
    """A declared table of one output."""

    __slots__ = ()

    def read(self, *columns: str) -> pl.DataFrame:
        """The whole table, or some of its columns."""
        return self.output.table(self.name, list(columns) or None)

    def column(self, name: str) -> pl.Series:
        """One column."""
        return self.read(name)[name]

    def columns(self) -> list[str]:
        """Names of the stored columns; reads the file's footer."""
        path = self.path
        if is_local(path):
            return list(pl.read_parquet_schema(Path(str(path))))
        import pyarrow.parquet as pq

        with path.fs.open(path.path, "rb") as file, pq.ParquetFile(file) as parquet:
            return list(parquet.schema_arrow.names)

    def part(self, column: str, value: str, *columns: str) -> pl.DataFrame:
        """The rows that have a value in a column; row groups whose statistics exclude it are not read.

        Of 10 million selected rows, ordered by shard, the 10,000 of one shard are read in 11 ms, all in 509.
        """
        path = self.path
        if is_local(path):
            lazy = pl.scan_parquet(Path(str(path)), glob=False).filter(pl.col(column) == value)
            return (lazy.select(columns) if columns else lazy).collect()
        import pyarrow.parquet as pq

        # From other storage, only the groups that matter come over the network.
        with path.fs.open(path.path, "rb") as file, pq.ParquetFile(file) as parquet:
            groups = [
                group for group in range(parquet.num_row_groups) if _may_hold(parquet, group, column, value)
            ]
            names = [*dict.fromkeys([*columns, column])] if columns else None
            table = pl.DataFrame(parquet.read_row_groups(groups, names))
        table = table.filter(pl.col(column) == value)
        return table.select(columns) if columns else table


@dataclass(frozen=True, slots=True)
class Array:
    """A .npy file of an output; see `Table`."""

    name: str

    @overload
    def __get__(self, output: None, owner: type) -> Array: ...
    @overload
    def __get__(self, output: Output, owner: type) -> StoredArray: ...
    def __get__(self, output: Output | None, owner: type) -> Array | StoredArray:
        return self if output is None else StoredArray(output, self.name)

    def write(self, writer: OutputWriter, array: np.ndarray) -> None:
        """Store an array under the declared name."""
        writer.array(self.name, array)


class StoredArray(StoredFile):
    """A declared array of one output."""

    __slots__ = ()

    def read(self) -> np.ndarray:
        """The array, memory-mapped if it is on this machine."""
        return self.output.array(self.name)


def _may_hold(parquet: pq.ParquetFile, group: int, column: str, value: str) -> bool:
    statistics = parquet.metadata.row_group(group).column(parquet.schema_arrow.names.index(column)).statistics
    if statistics is None or not statistics.has_min_max:
        return True
    return bool(statistics.min <= value <= statistics.max)
