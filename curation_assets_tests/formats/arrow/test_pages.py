"""Small Parquet that unpacks to gigabytes is read in small pieces, or rejected with the remedy."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from upath import UPath

from curation_assets.formats.arrow import batches, pages
from curation_assets.formats.arrow.pages import PagedFile, parse_page_header
from curation_assets.formats.base import RawSample, Rejection
from curation_assets.formats.opening import open_file
from curation_assets.formats.parquet import ParquetReader
from curation_assets.pools import ParquetSource

MAP = pa.map_(pa.string(), pa.int64())


def write(folder: Path, columns: Any, **options: Any) -> bytes:
    pq.write_table(pa.table(columns), folder / "0.parquet", **options)
    return (folder / "0.parquet").read_bytes()


def read(folder: Path) -> list[RawSample | Rejection]:
    source = ParquetSource(path=".", format="parquet", modality="text")
    return list(ParquetReader(UPath(folder), source).read("0.parquet"))


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_the_header_of_a_page_is_read(tmp_path: Path, version: str) -> None:
    content = write(
        tmp_path,
        {"text": ["aa", "bb", "aa"]},
        data_page_version=version,
        compression="none",
        use_dictionary=True,
    )
    facts = pq.read_metadata(tmp_path / "0.parquet").row_group(0).column(0)
    header = parse_page_header(content[facts.dictionary_page_offset :])
    # A length of four bytes before each text.
    assert header is not None
    assert header[1:] == (12, 12, 2, True)
    start = facts.dictionary_page_offset + header.header_bytes + header.stored_bytes
    data = parse_page_header(content[start:])
    assert data is not None
    assert (data.n_values, data.is_dictionary) == (3, False)
    assert start + data.header_bytes + data.stored_bytes == 4 + facts.total_compressed_size
    assert parse_page_header(content[start : start + data.header_bytes - 1]) is None


@pytest.mark.parametrize("writer", ["arrow", "arrow without statistics", "polars"])
def test_the_footer_is_read_as_pyarrow_reads_it(tmp_path: Path, writer: str) -> None:
    table = pa.table(
        {
            "text": ["a", None, "c" * 300], "list": [[1, 2], [], None], "map": pa.array([[("k", 1)]] * 3, MAP),
            "flag": [True, False, None], "half": pa.array([1, 2, 3], pa.float16()), "x.y": [1.5, 2, 3],
            "deep": [{"a": [{"b": 1}]}] * 3, "at": pa.array([1, 2, 3], pa.timestamp("ns", "UTC")),
        }
    )  # fmt: skip
    path = tmp_path / "0.parquet"
    if writer == "polars":
        pl.DataFrame({"text": ["a", None, "c"], "list": [[1], [], None]}).write_parquet(
            path, row_group_size=2
        )
    else:
        pq.write_table(table, path, row_group_size=2, write_statistics=writer == "arrow", compression="zstd")
    expected = pq.read_metadata(path)
    with open_file(UPath(tmp_path), path.name) as file:
        paged = PagedFile(file)
        schema = pq.ParquetFile(path).schema
        sizes = [paged.expect(group, schema) for group in range(expected.num_row_groups)]
        groups = paged._groups
    for group, size, found in zip(range(expected.num_row_groups), sizes, groups, strict=True):
        theirs = expected.row_group(group)
        assert (size.n_rows, size.n_bytes) == (theirs.num_rows, theirs.total_byte_size)
        for i, column in enumerate(found[1]):
            facts, known = column[3], theirs.column(i)
            assert (facts[5], facts[6], facts[7], facts[9], facts.get(11)) == (
                known.num_values, known.total_uncompressed_size, known.total_compressed_size, known.data_page_offset,
                known.dictionary_page_offset,
            )  # fmt: skip


def test_rows_that_share_a_text_are_not_unpacked_together(tmp_path: Path) -> None:
    shared = pa.DictionaryArray.from_arrays(pa.array([0, 1] * 500, pa.int32()), ["x" * 2_000_000, "short"])
    content = write(tmp_path, {"text": shared}, compression="zstd")
    assert len(content) < 5_000
    source = ParquetSource(path=".", format="parquet", modality="text")
    tracemalloc.start()
    before, peak, n_bytes = pa.total_allocated_bytes(), 0, 0
    for sample in ParquetReader(UPath(tmp_path), source).read("0.parquet"):
        assert isinstance(sample, RawSample)
        n_bytes += len(sample.content)
        peak = max(peak, pa.total_allocated_bytes() - before)
    python_peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n_bytes == 500 * 2_000_005
    assert peak < 100e6
    assert python_peak < 100e6


def test_texts_that_repeat_their_beginnings_are_not_unpacked_together(tmp_path: Path) -> None:
    encoding = {"use_dictionary": False, "column_encoding": {"text": "DELTA_BYTE_ARRAY"}}
    write(tmp_path, {"text": ["x" * 1_000_000] * 100}, compression="zstd", **encoding)
    before, peak = pa.total_allocated_bytes(), 0
    source = ParquetSource(path=".", format="parquet", modality="text")
    for _ in ParquetReader(UPath(tmp_path), source).read("0.parquet"):
        peak = max(peak, pa.total_allocated_bytes() - before)
    assert peak < 70e6


@pytest.mark.parametrize("buffer_bytes", [64, 2**20])
def test_a_page_that_unpacks_to_too_much_is_damage_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, buffer_bytes: int
) -> None:
    monkeypatch.setattr(pages, "MOST_PAGE_BYTES", 2**16)
    monkeypatch.setattr(batches, "_READ_BUFFER_BYTES", buffer_bytes)
    table = {"text": ["a", "x" * 2**17], "other": ["b", "c"]}
    write(tmp_path, table, compression="zstd", use_dictionary=False, row_group_size=1)
    first, damage = read(tmp_path)
    assert first.sample_id == "0:0"
    assert isinstance(damage, Rejection)
    assert damage.detail == (
        "a page of the column 'text' takes 131,082 bytes when it is unpacked, more than 65,536: write the file again "
        "with smaller pages and row groups"
    )


def test_a_list_that_grows_out_of_nothing_is_damage_and_an_honest_one_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "MOST_PAGE_BYTES", 2**18)
    monkeypatch.setattr(pages, "MOST_ROW_BYTES", 2**10)
    zeros, numbers = np.zeros(20_000, "int64"), np.random.default_rng(0).integers(0, 2**60, 20_000)
    write(tmp_path, {"text": ["a"], "list": [zeros]})
    (damage,) = read(tmp_path)
    assert isinstance(damage, Rejection)
    assert damage.detail.startswith(
        "1 rows hold 20,000 values of the column 'list.list.element', which is more than"
    )
    assert "leave the column out" in damage.detail
    write(tmp_path, {"text": ["a"], "list": [numbers]})
    (sample,) = read(tmp_path)
    assert isinstance(sample, RawSample)
    assert sample.attributes["list"] == numbers.tolist()
    # Masks of a text's tokens are packed as well, and are small in each row.
    write(tmp_path, {"text": ["a"] * 10_000, "mask": [[1] * 20] * 10_000})
    assert len(read(tmp_path)) == 10_000


def test_other_rows_than_the_footer_announces_are_damage(tmp_path: Path) -> None:
    content = bytearray(write(tmp_path, {"text": ["a"] * 30}, store_schema=False))
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    # Field 3, the number of rows: twice 30, as signed numbers are written.
    at = content.index(b"\x16\x3c", footer)
    content[at + 1] = 64
    (tmp_path / "0.parquet").write_bytes(content)
    *rows, damage = read(tmp_path)
    assert len(rows) == 30
    assert isinstance(damage, Rejection)
    assert damage.detail == "the footer announces 32 rows, but there are 30: write the file again"


def test_a_column_whose_name_is_not_utf_8_is_damage(tmp_path: Path) -> None:
    content = write(tmp_path, {"text": ["a"], "another": [1]}, store_schema=False)
    (tmp_path / "0.parquet").write_bytes(content.replace(b"another", b"anoth\xffr"))
    (damage,) = read(tmp_path)
    assert isinstance(damage, Rejection)
    assert "'utf-8' codec can't decode byte 0xff" in damage.detail


def test_header_of_garbage_is_none() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        parse_page_header(rng.bytes(60))
    assert parse_page_header(b"") is None
    assert parse_page_header(b"\x15\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01") is None
    assert parse_page_header(b"\x1c" * 5_000) is None


def test_reads_of_any_size_find_the_same_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"text": [f"text {n}" for n in range(3_000)]}, data_page_size=512, use_dictionary=False)
    expected = [item.sample_id for item in read(tmp_path)]
    monkeypatch.setattr(batches, "_READ_BUFFER_BYTES", 7)
    assert [item.sample_id for item in read(tmp_path)] == expected
