from __future__ import annotations

import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from upath import UPath

from curation_assets.errors import ShardError
from curation_assets.formats.base import RawSample, Rejection
from curation_assets.formats.webdataset import WebDatasetReader
from curation_assets.pools.source import WebDatasetSource
from curation_assets_tests.formats.downloads import Download, write_shard
from curation_assets_tests.formats.tars import image_bytes, summary, tar_bytes

DOWNLOADS = [
    Download("https://a.example/0.jpg", "ein Bild"),
    Download("https://a.example/1.jpg", error="HTTP Error 404: Not Found"),
    Download("https://a.example/2.jpg", "画像"),
    Download("https://a.example/3.jpg", error="image decoding error", status="failed_to_resize"),
]


def read(folder: Path, file: str = "00000.tar") -> list[RawSample | Rejection]:
    return list(WebDatasetReader(UPath(folder), WebDatasetSource(path=".")).read(file))


def test_what_failed_to_download_follows_the_samples(tmp_path):
    write_shard(tmp_path, DOWNLOADS)
    results = read(tmp_path)
    assert summary(results) == [
        "000000000",
        "000000002",
        "000000001: download_failed",
        "000000003: download_failed",
    ]
    first, second, failed, unreadable = results
    assert isinstance(second, RawSample)
    assert second.parts["txt"].decode() == "画像"
    assert first.attributes["url"] == "https://a.example/0.jpg"
    assert (failed.file, failed.member) == ("00000.tar", "row 1 of 00000.parquet")
    assert failed.detail == "failed_to_download: HTTP Error 404: Not Found (https://a.example/1.jpg)"
    assert unreadable.detail == "failed_to_resize: image decoding error (https://a.example/3.jpg)"


def test_only_the_tars_are_listed_and_the_counts_agree_with_the_tool(tmp_path):
    downloads = [Download(f"https://a.example/{n}", error="timeout" if n % 3 else None) for n in range(250)]
    for shard in range(2):
        write_shard(tmp_path, downloads, shard)
    reader = WebDatasetReader(UPath(tmp_path), WebDatasetSource(path="."))
    files = [file.path for file in reader.list_files()]
    assert files == ["00000.tar", "00001.tar"]
    for file in files:
        stats = json.loads((tmp_path / file.replace(".tar", "_stats.json")).read_text())
        results = read(tmp_path, file)
        assert sum(isinstance(result, RawSample) for result in results) == stats["successes"] == 84
        assert summary(results)[84:] == [f"{file[:5]}{n:04}: download_failed" for n in range(250) if n % 3]
        assert len({result.sample_id for result in results}) == 250


def test_a_shard_of_which_nothing_came_still_lists_its_urls(tmp_path):
    write_shard(tmp_path, [Download("https://a.example/0", error="timeout")])
    assert summary(read(tmp_path)) == ["00000.tar: empty_file", "000000000: download_failed"]


def test_whole_number_keys_and_missing_facts_of_other_versions(tmp_path):
    (tmp_path / "0.tar").write_bytes(tar_bytes([("a.png", image_bytes())]))
    table = pa.table({"key": [7, 8, None], "status": ["failed_to_download", None, "failed_to_download"]})
    pq.write_table(table, tmp_path / "0.parquet")
    results = read(tmp_path, "0.tar")
    assert summary(results) == [
        "a",
        "7: download_failed",
        "8: download_failed",
        "0.parquet:2: download_failed",
    ]
    assert results[1].detail == "failed_to_download: None (None)"


def test_a_parquet_of_something_else_is_not_looked_into(tmp_path):
    (tmp_path / "0.tar").write_bytes(tar_bytes([("a.png", image_bytes())]))
    pq.write_table(pa.table({"key": ["x"], "caption": ["y"]}), tmp_path / "0.parquet")
    assert summary(read(tmp_path, "0.tar")) == ["a"]


@pytest.mark.parametrize("content", [b"", b"PAR1 cut", b"no parquet at all"])
def test_a_broken_parquet_is_recorded(tmp_path, content):
    write_shard(tmp_path, DOWNLOADS)
    (tmp_path / "00000.parquet").write_bytes(content)
    results = read(tmp_path)
    assert summary(results[:2]) == ["000000000", "000000002"]
    (broken,) = results[2:]
    assert (broken.sample_id, broken.file) == ("00000.parquet", "00000.tar")
    assert broken.reason == ("unreadable_file" if content else "empty_file")
    assert "what img2dataset could not download" in broken.detail


def test_failing_storage_of_the_parquet_is_an_error(monkeypatch, tmp_path):
    write_shard(tmp_path, DOWNLOADS)
    reader = WebDatasetReader(UPath(tmp_path), WebDatasetSource(path="."))
    whole = (tmp_path / "00000.tar").read_bytes()

    def open_tar_only(path: str, mode: str) -> io.BytesIO:
        if path.endswith(".tar"):
            return io.BytesIO(whole)
        raise PermissionError("403 Forbidden")

    monkeypatch.setattr(reader._root.fs, "open", open_tar_only)
    with pytest.raises(ShardError, match=r"00000.parquet: storage failed .*403"):
        list(reader.read("00000.tar"))


def test_it_may_lie_on_any_fsspec_file_system(tmp_path):
    write_shard(tmp_path, DOWNLOADS)
    root = UPath("memory://downloads/x")
    root.mkdir(parents=True, exist_ok=True)
    for path in tmp_path.iterdir():
        (root / path.name).write_bytes(path.read_bytes())
    reader = WebDatasetReader(UPath("memory://downloads"), WebDatasetSource(path=".", pattern="**/*.tar"))
    assert [file.path for file in reader.list_files()] == ["x/00000.tar"]
    assert summary(reader.read("x/00000.tar")) == summary(read(tmp_path))


def test_a_bad_value_in_the_parquet_of_a_tar_concerns_its_row_only(tmp_path):
    (tmp_path / "0.tar").write_bytes(tar_bytes([("a.png", image_bytes())]))
    urls = pa.array([b"https://a.example/\xff", b"x"]).view(pa.string())
    pq.write_table(
        pa.table({"key": ["b", "a"], "status": [None, "success"], "url": urls}), tmp_path / "0.parquet"
    )
    first, second = read(tmp_path, "0.tar")
    assert first.sample_id == "a"
    assert second.sample_id == "b"
    assert second.detail == "None: None (https://a.example/\\xff)"
    table = pa.table({"key": [[1]], "status": [["success"]]})
    pq.write_table(table, tmp_path / "0.parquet")
    assert summary(read(tmp_path, "0.tar")) == ["a", "[1]: download_failed"]
    pq.write_table(
        pa.Table.from_arrays([pa.array(["c"])] * 3, names=["key", "key", "status"]), tmp_path / "0.parquet"
    )
    assert summary(read(tmp_path, "0.tar")) == ["a"]
