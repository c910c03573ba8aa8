"""The rows of a batch as Python values; a value that Python cannot hold concerns its row only."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from curation_assets.formats.base import RejectedSampleError, RejectionReason


def python_rows(batch: pa.RecordBatch) -> Iterator[dict[str, Any] | RejectedSampleError]:
    """The rows in order; in place of a row with a value that cannot be read, why it is rejected, with the column."""
    try:
        yield from batch.to_pylist()
        return
    # Text that is not UTF-8, dates beyond the year 9999, unknown time zones: the errors share no class.
    except Exception:  # noqa: S110
        pass
    for i in range(batch.num_rows):
        row = batch.slice(i, 1)
        try:
            yield row.to_pylist()[0]
        except Exception as error:
            yield _rejected(row, error)


def _rejected(row: pa.RecordBatch, error: Exception) -> RejectedSampleError:
    column = next((name for name in row.schema.names if not _is_readable(row, name)), "?")
    if isinstance(error, UnicodeDecodeError):
        detail = f"invalid UTF-8 at byte {error.start:,} of a text: {error.reason} (column '{column}')"
        return RejectedSampleError(RejectionReason.INVALID_UTF8, detail)
    line = f"{type(error).__name__}: {error}".splitlines()[0]
    return RejectedSampleError(
        RejectionReason.INVALID_JSON, f"a value cannot be read: {line} (column '{column}')"
    )


def _is_readable(row: pa.RecordBatch, name: str) -> bool:
    try:
        for i in row.schema.get_all_field_indices(name):
            row.column(i).to_pylist()
    except Exception:
        return False
    return True


def in_known_zones(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A batch whose times of unknown zones (`tzutc()`, as some libraries write) are those of UTC: the same instants."""
    for i, field in enumerate(batch.schema):
        if types.is_timestamp(field.type) and field.type.tz and not _is_known(field.type.tz):
            column = batch.column(i).cast(pa.timestamp(field.type.unit, "UTC"))
            batch = batch.set_column(i, field.name, column)
    return batch


@lru_cache(maxsize=256)
def _is_known(zone: str) -> bool:
    moment = pa.array([0], pa.timestamp("s", zone))
    try:
        moment.to_pylist()
        pc.cast(moment, pa.string())
    # pytz, zoneinfo and Arrow have errors of their own.
    except Exception:
        return False
    return True
