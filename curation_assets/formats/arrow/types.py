"""Arrow types of images, texts, ids and times; a column of nulls alone counts as any of the first three."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

_BINARY = (types.is_binary, types.is_large_binary, types.is_fixed_size_binary, types.is_binary_view)
_TEXT = (types.is_string, types.is_large_string, types.is_string_view, types.is_null)

_UNITS_PER_DAY = {"s": 86_400, "ms": 86_400 * 10**3, "us": 86_400 * 10**6, "ns": 86_400 * 10**9, "day": 1}
_MOST_DAYS = 365 * 30_000
"""Before and after 1970; of times beyond the year 32,767, Arrow's texts are wrong."""


def is_binary(kind: pa.DataType) -> bool:
    """Bytes of any layout, including a dictionary."""
    return any(is_of(_plain(kind)) for is_of in _BINARY)


def is_image(kind: pa.DataType) -> bool:
    """Bytes, or a struct with a field `bytes`, as `datasets.Image` is stored."""
    kind = _plain(kind)
    if types.is_struct(kind):
        return "bytes" in [field.name for field in kind] and is_image(kind.field("bytes").type)
    return is_binary(kind) or types.is_null(kind)


def is_text(kind: pa.DataType) -> bool:
    """Text, or bytes that should be UTF-8."""
    return any(is_of(_plain(kind)) for is_of in (*_TEXT, *_BINARY))


def is_id(kind: pa.DataType) -> bool:
    """Text or numbers; of floats, see `most_exact`."""
    plain = _plain(kind)
    return bool(types.is_integer(plain) or is_float(kind) or (is_text(kind) and not is_binary(kind)))


def is_float(kind: pa.DataType) -> bool:
    """Floats of any size."""
    return bool(types.is_floating(_plain(kind)))


def most_exact(kind: pa.DataType) -> int:
    """Whole numbers of a float type are exact below this."""
    plain = _plain(kind)
    return 2**11 if types.is_float16(plain) else 2**24 if types.is_float32(plain) else 2**53


def holds_binary(kind: pa.DataType) -> bool:
    """Whether it has bytes at any depth, which JSON cannot represent."""
    kind = _plain(kind)
    if types.is_struct(kind):
        return any(holds_binary(field.type) for field in kind)
    if types.is_map(kind):
        return holds_binary(kind.key_type) or holds_binary(kind.item_type)
    if types.is_nested(kind) and hasattr(kind, "value_type"):
        return holds_binary(kind.value_type)
    return is_binary(kind)


def without_nanoseconds(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A batch whose times Python's own types can hold; outputs then show them as ISO 8601."""
    for i, field in enumerate(batch.schema):
        kind = field.type
        if getattr(kind, "unit", None) == "ns":
            if types.is_timestamp(kind):
                micro = pa.timestamp("us", kind.tz)
            else:
                micro = pa.duration("us") if types.is_duration(kind) else pa.time64("us")
            batch = batch.set_column(i, field.name, batch.column(i).cast(micro, safe=False))
    return batch


def times_as_text(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A batch whose dates and times are text: Python's have neither nanoseconds nor years beyond 9999."""
    for i, field in enumerate(batch.schema):
        if types.is_temporal(field.type) and not types.is_interval(field.type):
            batch = batch.set_column(i, field.name, _time_texts(batch.column(i)))
    return batch


def _time_texts(column: pa.Array) -> pa.Array:
    texts = pc.cast(column, pa.string())
    per_day = _UNITS_PER_DAY.get(
        getattr(column.type, "unit", "ms" if types.is_date64(column.type) else "day")
    )
    if per_day is None or not (types.is_timestamp(column.type) or types.is_date(column.type)):
        return texts
    numbers = column.view(pa.int32() if types.is_date32(column.type) else pa.int64())
    most = pa.scalar(min(_MOST_DAYS * per_day, 2**63 - 1), pa.int64())
    numbers = numbers.cast(pa.int64())
    beyond = pc.or_(pc.greater(numbers, most), pc.less(numbers, pc.negate(most)))
    if not pc.any(beyond).as_py():
        return texts
    unit = getattr(column.type, "unit", "ms" if types.is_date64(column.type) else "days")
    told = pc.binary_join_element_wise(numbers.cast(pa.string()), f"{unit} since 1970-01-01", " ")
    return pc.if_else(beyond, told, texts)


def require_names(schema: pa.Schema) -> None:
    """All names of fields and time zones are UTF-8.

    Raises:
        UnicodeDecodeError: if one is not.
    """
    for field in schema:
        _require_names(field)


def _require_names(field: pa.Field) -> None:
    _ = field.name
    kind = _plain(field.type)
    if types.is_timestamp(kind):
        _ = kind.tz
    for i in range(kind.num_fields):
        _require_names(kind.field(i))


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type below an extension type or a dictionary."""
    if isinstance(kind, pa.BaseExtensionType):
        return _plain(kind.storage_type)
    return _plain(kind.value_type) if types.is_dictionary(kind) else kind
