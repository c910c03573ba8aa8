"""Parquet that stands beside other files: its ids, its times and its faults."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from curation_assets.errors import ShardError


def id_text(value: Any) -> str | None:
    """A column's value as an id; None if there is nothing in it."""
    if value is None or value != value or value == "":
        return None
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def without_nanoseconds(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with times that Python's own types can hold."""
    columns = []
    for column in batch.columns:
        kind = column.type
        if pa.types.is_timestamp(kind) and kind.unit == "ns":
            column = column.cast(pa.timestamp("us", kind.tz), safe=False)
        elif pa.types.is_duration(kind) and kind.unit == "ns":
            column = column.cast(pa.duration("us"), safe=False)
        elif pa.types.is_time64(kind) and kind.unit == "ns":
            column = column.cast(pa.time64("us"), safe=False)
        columns.append(column)
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


@contextmanager
def parquet_errors(table: str) -> Iterator[None]:
    """Turn what pyarrow raises while it reads `table` into a `ShardError`."""
    try:
        yield
    except pa.ArrowException as error:
        raise ShardError(f"{table}: cannot be read as Parquet ({_line(error)}): write it again") from error
    except OSError as error:
        # pyarrow says so of damaged pages as well as of storage that does not answer.
        raise ShardError(
            f"{table}: reading failed ({type(error).__name__}: {_line(error)}): run the shard again, or write it again"
        ) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
