"""Parquet: columns of all types with any values, and damaged files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from unittest import mock

import pyarrow as pa
from hypothesis import assume
from hypothesis import strategies as st

from curation_assets.formats.arrow import batches
from curation_assets_tests.fuzz.columns import OPTIONS, named_columns, parquet_bytes, tables
from curation_assets_tests.fuzz.harness import Arena
from curation_assets_tests.fuzz.mutations import damaged
from curation_assets_tests.fuzz.tar_entries import PNG

SOURCES = st.fixed_dictionaries(
    {
        "format": st.just("parquet"),
        "modality": st.sampled_from(["text", "text", "image"]),
        "id_field": st.sampled_from([None, "id", "a.b"]),
        "label_fields": st.sampled_from([[], ["label"], ["text"]]),
        "max_image_pixels": st.just(10_000),
        "max_text_bytes": st.just(10_000),
    }
)


def valid_files() -> tuple[list[bytes], list[bytes]]:
    """Of texts, and of images."""
    texts = pa.table(
        {
            "id": list(range(30)), "text": [f"text {n} ü" for n in range(30)], "label": [["a", "b"]] * 30,
            "when": pa.array(range(30), pa.timestamp("ms", "UTC")), "x": [{"y": n} for n in range(30)],
        }
    )  # fmt: skip
    images = pa.table({"id": ["a", "b"], "image": [{"bytes": PNG, "path": "a.png"}] * 2, "label": [1, 2]})
    ways = [
        {"compression": "none"}, {"compression": "zstd", "row_group_size": 7}, {"compression": "snappy"},
        {"compression": "none", "use_dictionary": False, "data_page_version": "2.0", "store_schema": False},
        {"compression": "gzip", "use_dictionary": False, "column_encoding": {"id": "DELTA_BINARY_PACKED"}},
    ]  # fmt: skip
    of_texts, of_images = ([parquet_bytes(table, way) for way in ways] for table in (texts, images))
    return [found for found in of_texts if found], [found for found in of_images if found]


@contextlib.contextmanager
def in_small_chunks() -> Iterator[None]:
    with mock.patch.object(batches, "MAX_BATCH_ROWS", 2):
        yield


def test_tables_of_every_type(arena: Arena) -> None:
    def check(case) -> None:
        table, options, source, names_what_there_is = case
        source = named_columns(table, source) if names_what_there_is else source
        content = parquet_bytes(table, options)
        assume(content is not None)
        arena.read(
            source, {"0.parquet": content}, "0.parquet", otherwise=in_small_chunks(), n_seen=table.num_rows
        )

    cases = st.tuples(tables(), OPTIONS, SOURCES, st.sampled_from([True, True, True, False]))
    arena.explore(cases, 225, check)


def test_damaged_tables(arena: Arena) -> None:
    texts, images = valid_files()

    def check(case) -> None:
        content, modality = case
        source = {
            "format": "parquet", "modality": modality, "id_field": "id", "label_fields": ["label"],
            "max_image_pixels": 10_000, "max_text_bytes": 10_000,
        }  # fmt: skip
        arena.read(source, {"0.parquet": content}, "0.parquet", otherwise=in_small_chunks())

    cases = st.tuples(damaged(texts), st.just("text")) | st.tuples(damaged(images), st.just("image"))
    arena.explore(cases, 175, check)
