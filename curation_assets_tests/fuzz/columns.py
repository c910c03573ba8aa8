"""Columns of every type that Parquet stores, with values that Python, Arrow or UTF-8 cannot hold."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from curation_assets_tests.fuzz.tar_entries import PNG

_EXTREME = [0, 1, -1, 2**31 - 1, -(2**31), 2**53 + 1, 2**63 - 1, -(2**63), 253_402_300_800, -62_135_596_801]
NUMBERS = st.sampled_from(_EXTREME) | st.integers(-(2**63), 2**63 - 1)
TEXTS = st.sampled_from(
    [
        b"a text", b"", b" ", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbfx", b"x" * 300, b"a\nb", b"\0", b"1000001.0",
        b"nan",
        "ü".encode(), PNG, PNG[:20], b"\x80" * 9,
    ]
) | st.binary(max_size=8)  # fmt: skip
ZONES = ["UTC", "Europe/Berlin", "+05:30", "tzutc()", "Mars/Olympus", "", "+99:99"]
_UNITS = ["s", "ms", "us", "ns"]
_NUMERIC = [
    pa.int8(),
    pa.uint16(),
    pa.int32(),
    pa.int64(),
    pa.uint64(),
    pa.float32(),
    pa.float64(),
    pa.float16(),
]
_TEMPORAL = [
    *(pa.timestamp(unit) for unit in _UNITS),
    *(pa.timestamp(unit, zone) for unit, zone in zip(_UNITS * 2, ZONES, strict=False)),
    pa.date32(), pa.date64(), pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns"),
    *(pa.duration(unit) for unit in _UNITS),
]  # fmt: skip
_TEXTUAL = [pa.string(), pa.large_string(), pa.binary(), pa.large_binary(), pa.string_view()]
KINDS = [*_NUMERIC, *_TEMPORAL, *_TEXTUAL]
NAMES = st.sampled_from(
    ["text", "image", "id", "label", "a.b", "text.x", "", "ü", "x" * 200, "list", "\n", "a"]
)


@st.composite
def arrays(draw: st.DrawFn, n_rows: int, depth: int = 2) -> pa.Array:
    """A column of some type."""
    how = draw(
        st.sampled_from(["flat", "flat", "flat", "list", "struct", "map", "dictionary", "null", "odd"])
    )
    if depth == 0 and how in ("list", "struct", "map", "dictionary"):
        how = "flat"
    if how == "flat":
        return draw(flat(draw(st.sampled_from(KINDS)), n_rows))
    if how == "list":
        lengths = draw(st.lists(st.integers(0, 3), min_size=n_rows, max_size=n_rows))
        offsets = pa.array(np.cumsum([0, *lengths]), pa.int32())
        return pa.ListArray.from_arrays(offsets, draw(arrays(sum(lengths), depth - 1)))
    if how == "struct":
        names = draw(
            st.lists(st.sampled_from(["bytes", "path", "x", ""]), min_size=1, max_size=2, unique=True)
        )
        return pa.StructArray.from_arrays([draw(arrays(n_rows, depth - 1)) for _ in names], names=names)
    if how == "map":
        offsets = pa.array(range(n_rows + 1), pa.int32())
        keys = draw(flat(draw(st.sampled_from([pa.string(), pa.int64()])), n_rows, nulls=False))
        return pa.MapArray.from_arrays(offsets, keys, draw(arrays(n_rows, depth - 1)))
    if how == "dictionary":
        values = draw(flat(draw(st.sampled_from([pa.string(), pa.int64(), pa.binary()])), 3))
        picked = draw(st.lists(st.sampled_from([0, 1, 2, None]), min_size=n_rows, max_size=n_rows))
        return pa.DictionaryArray.from_arrays(pa.array(picked, pa.int32()), values)
    if how == "odd":
        kinds = [pa.bool_(), pa.decimal128(38, 3), pa.decimal256(70, 2), pa.binary(3), pa.uuid()]
        kind = draw(st.sampled_from(kinds))
        return pa.nulls(n_rows, kind) if kind != pa.bool_() else pa.array([True] * n_rows)
    return pa.nulls(n_rows)


@st.composite
def flat(draw: st.DrawFn, kind: pa.DataType, n_rows: int, nulls: bool = True) -> pa.Array:
    """Values as they lie in memory: texts of any bytes, times of any number."""
    if any(kind.equals(known) for known in _TEXTUAL):
        values = draw(st.lists(TEXTS | st.none() if nulls else TEXTS, min_size=n_rows, max_size=n_rows))
        large = kind in (pa.large_string(), pa.large_binary())
        found = pa.array(values, pa.large_binary() if large else pa.binary())
        # Without validation, as files of careless writers come.
        return (
            found
            if kind in (pa.binary(), pa.large_binary())
            else found.view(pa.large_string() if large else pa.string())
        )
    numbers = draw(st.lists(NUMBERS, min_size=n_rows, max_size=n_rows))
    width = kind.bit_width // 8
    body = b"".join((number % 2 ** (8 * width)).to_bytes(width, "little") for number in numbers)
    return pa.Array.from_buffers(kind, n_rows, [None, pa.py_buffer(body)])


@st.composite
def tables(draw: st.DrawFn, content: tuple[str, ...] = ("text", "image")) -> pa.Table:
    """A few columns: mostly one of texts or images as a pool would have, often one of ids, and others of all types."""
    n_rows = draw(st.sampled_from([0, 1, 2, 5, 12]))
    columns: list[tuple[str, Any]] = []
    for name in content:
        if draw(st.sampled_from([True, True, True, True, False])):
            kind = pa.string() if name == "text" else pa.binary()
            columns.append(
                (name, draw(flat(kind, n_rows) | flat(kind, n_rows) | flat(kind, n_rows) | arrays(n_rows)))
            )
    if draw(st.booleans()):
        columns.append(("id", draw(flat(draw(st.sampled_from([pa.string(), *_NUMERIC])), n_rows))))
    for name in draw(st.lists(NAMES, max_size=3, unique=draw(st.sampled_from([True, True, True, False])))):
        if name not in dict(columns) or draw(st.sampled_from([False, False, True])):
            columns.append((name, draw(arrays(n_rows))))
    return pa.Table.from_arrays([array for _, array in columns], names=[name for name, _ in columns])


def named_columns(table: pa.Table, source: dict[str, Any]) -> dict[str, Any]:
    """A source that names columns of a table, where it would name columns that the table lacks."""
    names = [name for name in table.column_names if name.strip()]
    found = dict(source)
    if source["id_field"] not in (None, *names):
        found["id_field"] = None
    found["label_fields"] = [name for name in source["label_fields"] if name in names] or list(
        dict.fromkeys(names)
    )[:1]
    return found


OPTIONS = st.fixed_dictionaries(
    {
        "compression": st.sampled_from(["none", "snappy", "zstd", "gzip"]),
        "use_dictionary": st.booleans(),
        "row_group_size": st.sampled_from([3, 100]),
        "data_page_version": st.sampled_from(["1.0", "2.0"]),
        "version": st.sampled_from(["1.0", "2.6"]),
        "store_schema": st.booleans(),
        "write_statistics": st.booleans(),
        "coerce_timestamps": st.sampled_from([None, None, "ms"]),
    }
)


def parquet_bytes(table: pa.Table, options: dict[str, Any]) -> bytes | None:
    """A file; None if Arrow refuses to write such a table."""
    buffer = io.BytesIO()
    try:
        pq.write_table(table, buffer, **options, allow_truncated_timestamps=True)
    except (pa.ArrowException, OSError, ValueError, UnicodeDecodeError):
        return None
    return buffer.getvalue()
