"""The rows of a batch as Python values; a value that Python cannot hold concerns its row only."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from curation_assets.formats.arrow.types import is_text
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


def readable_texts(column: pa.Array) -> list[str | None]:
    """Values of any type as texts, for people: bytes that are not UTF-8 are escaped, what Python cannot hold is `?`."""
    if types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if is_text(column.type) and not types.is_null(column.type):
        column = column.cast(pa.large_binary())
    return [_shown(value) for value in column]


def _shown(scalar: pa.Scalar) -> str | None:
    try:
        value = scalar.as_py()
    # The errors share no class, as above.
    except Exception:
        return "?"
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return None if value is None else str(value)


def in_known_zones(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A batch whose times of unknown zones (`tzutc()`, as some libraries write) are those of UTC: the same instants.

    Inside lists and structs, nanoseconds are dropped too: without pandas, Python cannot hold them.
    """
    for i, field in enumerate(batch.schema):
        if (wanted := _readable(field.type)) != field.type:
            try:
                column = batch.column(i).cast(wanted, safe=False)
            except pa.ArrowException:
                # Not every nested type can be cast. Rows whose values cannot be read are then rejected one by one.
                continue
            batch = batch.set_column(i, field.name, column)
    return batch


def _readable(kind: pa.DataType, depth: int = 0) -> pa.DataType:
    if depth and getattr(kind, "unit", None) == "ns":
        zone = kind.tz if types.is_timestamp(kind) else None
        in_micros = pa.timestamp("us", zone) if types.is_timestamp(kind) else pa.time64("us")
        return _readable(pa.duration("us") if types.is_duration(kind) else in_micros, depth)
    if types.is_timestamp(kind):
        return kind if kind.tz is None or _is_known(kind.tz) else pa.timestamp(kind.unit, "UTC")
    if types.is_struct(kind):
        return pa.struct([field.with_type(_readable(field.type, depth + 1)) for field in kind])
    if types.is_map(kind):
        return pa.map_(kind.key_type, _readable(kind.item_type, depth + 1))
    if types.is_dictionary(kind):
        return pa.dictionary(kind.index_type, _readable(kind.value_type, depth + 1), kind.ordered)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        inner = kind.value_field.with_type(_readable(kind.value_type, depth + 1))
        if types.is_fixed_size_list(kind):
            return pa.list_(inner, kind.list_size)
        return pa.large_list(inner) if types.is_large_list(kind) else pa.list_(inner)
    return kind


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
