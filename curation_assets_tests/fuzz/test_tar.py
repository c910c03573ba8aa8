"""Tars: every kind of entry and name, joined, cut and damaged, with checksums that are right or wrong."""

from __future__ import annotations

from unittest import mock

import pyarrow as pa
from hypothesis import strategies as st

from curation_assets.formats.tar import members
from curation_assets_tests.fuzz.columns import arrays, flat, parquet_bytes
from curation_assets_tests.fuzz.harness import Arena
from curation_assets_tests.fuzz.mutations import damaged
from curation_assets_tests.fuzz.tar_entries import (
    BLOCK,
    PNG,
    Entry,
    dialects,
    entries,
    header,
    mended,
    octal,
    padded,
    tar_of,
)

SOURCES = st.fixed_dictionaries(
    {
        "format": st.just("webdataset"),
        "modality": st.sampled_from(["image", "image", "text"]),
        "ids": st.sampled_from(["key", "file_and_key"]),
        "label_fields": st.sampled_from([[], ["a"]]),
        "max_image_pixels": st.just(10_000),
    }
)
ENDS = st.sampled_from([bytes(2 * BLOCK), bytes(2 * BLOCK), bytes(BLOCK), b"", bytes(20 * BLOCK), b"x" * 600])
SOUND = st.lists(
    st.tuples(st.lists(entries(sound=True), min_size=1, max_size=8), st.just(bytes(2 * BLOCK))),
    min_size=1,
    max_size=2,
)
ODD = st.lists(st.tuples(st.lists(entries(sound=False), max_size=8), ENDS), min_size=1, max_size=2)


def in_small_chunks() -> mock._patch:
    return mock.patch.object(members, "_ZEROS_READ", BLOCK)


def expected(archives: list[tuple[list[Entry], bytes]]) -> int | None:
    """How many members must have a fate; None if the tar may count as damaged."""
    counts = [entry.counts for held, _ in archives for entry in held]
    whole = all(held and len(end) >= 2 * BLOCK and not any(end) for held, end in archives)
    return sum(map(bool, counts)) if whole and None not in counts else None


def test_entries_of_every_kind(arena: Arena) -> None:
    def check(case) -> None:
        archives, source = case
        content = b"".join(b"".join(entry.content for entry in held) + end for held, end in archives)
        arena.read(
            source, {"0.tar": content}, "0.tar", otherwise=in_small_chunks(), n_seen=expected(archives)
        )

    arena.explore(st.tuples(SOUND | ODD, SOURCES), 175, check)


def test_damaged_tars(arena: Arena) -> None:
    def check(case) -> None:
        content, source = case
        arena.read(source, {"0.tar": content}, "0.tar", otherwise=in_small_chunks())

    arena.explore(st.tuples(damaged(dialects(), mend=mended), SOURCES), 175, check)


@st.composite
def tables_of_downloads(draw: st.DrawFn) -> pa.Table:
    """As img2dataset writes them beside a tar, but for their types and values."""
    n_rows = draw(st.integers(0, 6))
    names = draw(st.lists(st.sampled_from(["key", "status", "error_message", "url", "x"]), max_size=5))
    names = [*names, *(["key", "status"] if draw(st.booleans()) else [])]
    columns = [draw(flat(pa.string(), n_rows) | arrays(n_rows)) for _ in names]
    return pa.Table.from_arrays(columns, names=names)


def test_tables_of_downloads_beside_a_tar(arena: Arena) -> None:
    sound = tar_of(header(b"a.png", octal(len(PNG)), b"0") + padded(PNG))
    usual = pa.table({"key": ["a", "b"], "status": ["success", "failed"], "url": ["u", "v"]})
    files = tables_of_downloads().map(lambda table: parquet_bytes(table, {}) or b"")

    def check(table: bytes) -> None:
        told = arena.read(
            {"format": "webdataset"}, {"0.tar": sound, "0.parquet": table}, "0.tar", n_beside=99
        )
        assert told.n_samples == 1

    arena.explore(files | damaged([parquet_bytes(usual, {}) or b""]), 100, check)
