"""Ids and faults of the Parquet beside arrays of embeddings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from curation_assets.errors import ShardError


def id_text(value: Any) -> str | None:
    """A column's value as an id; None if it is null, NaN or empty."""
    if value is None or value != value or value == "":
        return None
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


@contextmanager
def parquet_errors(table: str) -> Iterator[None]:
    """Turn what pyarrow raises while it reads `table` into a `ShardError`."""
    try:
        yield
    except pa.ArrowException as error:
        raise ShardError(f"{table}: cannot be read as Parquet ({_line(error)}): write it again") from error
    except OSError as error:
        # pyarrow raises it for damaged pages as well as for storage that does not answer.
        raise ShardError(
            f"{table}: reading failed ({type(error).__name__}: {_line(error)}): run the shard again, or write it again"
        ) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
