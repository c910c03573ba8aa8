"""Arrays of embeddings beside metadata: odd headers, odd columns, and damage to either file."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
from hypothesis import assume
from hypothesis import strategies as st

from curation_assets.errors import CurationError
from curation_assets.formats import build_reader, embeddings, npy
from curation_assets.formats.embeddings import EmbeddingsReader
from curation_assets.pools import EmbeddingsSource
from curation_assets_tests.fuzz.columns import OPTIONS, named_columns, parquet_bytes, tables
from curation_assets_tests.fuzz.harness import Arena, require_repeatable
from curation_assets_tests.fuzz.mutations import damaged

SOURCE = {"format": "embeddings", "layout": "folder", "encoder": "a model"}
DTYPES = ["<f2", "<f4", "<f8", ">f4", "<f16", "<i4", "|O", "<c8", "|b1", "<U3"]
HEADERS = st.sampled_from(
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 4), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 1000000000000000000000), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 1000000000000000000000), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-3, 4), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3, -4), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-3, -4), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (True, 4), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4, 1), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (12,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (), }",
        "{'descr': '<f4', 'fortran_order': True, 'shape': (3, 4), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (3, 4), }",
        "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3, 4), }",
        "{'descr': ('<f4', (2,)), 'fortran_order': False, 'shape': (3, 4), }",
        "{'descr': '<f4', 'shape': (3, 4), }",
        "{'descr': '<M8[s]', 'fortran_order': False, 'shape': (3, 4), }",
        "(" * 3_000,
        "__import__('os')",
        "",
        "\u00ff",
    ]
)


@st.composite
def arrays(draw: st.DrawFn) -> tuple[bytes, int]:
    """A file, and the number of its rows if it is sound."""
    if draw(st.sampled_from([True, True, True, False])):
        n_rows, dimension = draw(st.integers(0, 12)), draw(st.integers(1, 3))
        dtype = draw(st.sampled_from(["<f2", "<f4", "<f8", "<f4", *DTYPES]))
        values = draw(st.lists(st.floats(width=16), min_size=1, max_size=4))
        array = np.resize(np.array(values), (n_rows, dimension))
        with np.errstate(all="ignore"):
            array = array.astype(dtype, order=draw(st.sampled_from(["C", "F"])))
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=True)
        return buffer.getvalue(), n_rows
    header = draw(HEADERS).encode("latin-1")
    version = draw(st.sampled_from([b"\1\0", b"\2\0", b"\3\0", b"\0\1"]))
    length = draw(st.sampled_from([len(header), 0, 60_000]))
    body = draw(st.sampled_from([b"", bytes(48), bytes(400)]))
    return npy.NPY_MAGIC + version + length.to_bytes(
        2 if version == b"\1\0" else 4, "little"
    ) + header + body, 3


SOURCES = st.fixed_dictionaries(
    {
        "dimension": st.sampled_from([None, None, 2]),
        "id_field": st.sampled_from([None, "id", "a.b"]),
        "text_field": st.sampled_from([None, "text"]),
        "token_count_field": st.sampled_from([None, None, "id"]),
        "label_fields": st.sampled_from([[], ["label"]]),
    }
)


@contextlib.contextmanager
def in_small_chunks() -> Iterator[None]:
    with mock.patch.object(embeddings, "_BATCH_ROWS", 3):
        yield


def valid_files() -> tuple[list[bytes], list[bytes]]:
    """Arrays, and metadata for them."""
    found = []
    for dtype in ("<f2", "<f4", "<f8"):
        buffer = io.BytesIO()
        np.save(buffer, np.arange(40, dtype=dtype).reshape(10, 4))
        found.append(buffer.getvalue())
    table = pa.table(
        {"id": range(10), "text": [f"t {n}" for n in range(10)], "label": [float(n) for n in range(10)]}
    )
    ways = [{"compression": "none"}, {"compression": "zstd", "row_group_size": 4}, {"use_dictionary": False}]
    return found, [content for way in ways if (content := parquet_bytes(table, way))]


def read(arena: Arena, source: dict[str, Any], array: bytes, table: bytes | None) -> None:
    """The metadata as `raw_pool` reads it, then the vectors, and metadata as the release reads it."""
    files = {"d/a.npy": array} | ({} if table is None else {"d/a.parquet": table})
    source = {**SOURCE, **source}
    told = arena.read(source, files, "d/a.npy", otherwise=in_small_chunks())
    pool = arena.folder / "pool"
    reader = build_reader(EmbeddingsSource.model_validate({"path": str(pool), **source}), pool)
    assert isinstance(reader, EmbeddingsReader)
    try:
        blocks = list(reader.read_array("d/a.npy"))
        with mock.patch.object(npy, "CHUNK_BYTES", 1):
            header = reader.header("d/a.npy")
            again = list(npy.read_npy_rows(reader._root / "d/a.npy", header, 1))
        n_rows = sum(map(len, blocks))
        assert n_rows == sum(map(len, again)) == header.n_rows
        if n_rows:
            assert np.concatenate(blocks).tobytes() == np.concatenate(again).tobytes()
        if told.error is None:
            taken = reader.take_metadata("d/a.npy", np.arange(0, n_rows, 2))
            assert taken.num_rows == (n_rows + 1) // 2
            assert taken.schema.equals(reader.metadata_schema("d/a.npy"))
    except CurationError as error:
        require_repeatable(str(error), pool)


def test_arrays_and_metadata_of_every_type(arena: Arena) -> None:
    def check(case) -> None:
        (array, n_rows), table, options, source, names_what_there_is, is_aligned = case
        if is_aligned and table.num_rows:
            table = table.take(np.arange(n_rows) % table.num_rows) if n_rows else table.slice(0, 0)
        if names_what_there_is:
            source = named_columns(table, source)
            source = {
                key: None if key.endswith("_field") and name not in table.column_names else name
                for key, name in source.items()
            }
        content = parquet_bytes(table, options)
        assume(content is not None)
        read(arena, source, array, content)

    yes = st.sampled_from([True, True, True, False])
    arena.explore(st.tuples(arrays(), tables(("text",)), OPTIONS, SOURCES, yes, yes), 150, check)


def test_damaged_arrays_and_metadata(arena: Arena) -> None:
    arrays_, tables_ = valid_files()

    def check(case) -> None:
        array, table, source = case
        read(arena, source, array, table)

    both = st.one_of(
        st.tuples(damaged(arrays_), st.sampled_from([*tables_, None]), SOURCES),
        st.tuples(st.sampled_from(arrays_), damaged(tables_), SOURCES),
    )
    arena.explore(both, 130, check)
