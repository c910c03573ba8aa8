"""Arrow types of images, texts, ids and times; a column of nulls alone counts as any of the first three."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

_BINARY = (types.is_binary, types.is_large_binary, types.is_fixed_size_binary, types.is_binary_view)
_TEXT = (types.is_string, types.is_large_string, types.is_string_view, types.is_null)


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
            column = pc.cast(batch.column(i), pa.string())
            batch = batch.set_column(i, field.name, column)
    return batch


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type below an extension type or a dictionary."""
    if isinstance(kind, pa.BaseExtensionType):
        return _plain(kind.storage_type)
    return _plain(kind.value_type) if types.is_dictionary(kind) else kind
