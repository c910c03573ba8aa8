from __future__ import annotations

import os
import time
from importlib import import_module
from pathlib import Path

import pytest
from upath import UPath

from curation_assets.errors import PoolSpecError, ShardError
from curation_assets.formats import build_reader
from curation_assets.formats.base import ShardReader
from curation_assets.formats.listing import list_one_file, resolve_location
from curation_assets.locations import full_path, is_local, shows_whole_files
from curation_assets.pools import WebDatasetSource
from curation_assets.pools.source import SOURCES
from curation_assets_tests.formats.tars import image_bytes, summary, tar_bytes

ONE = tar_bytes([("a.png", image_bytes())])


def test_each_format_is_a_module_with_its_reader():
    for name in SOURCES:
        assert issubclass(import_module(f"curation_assets.formats.{name}").READER, ShardReader)


@pytest.mark.parametrize(
    ("location", "local", "whole"),
    [("/pool", True, False), ("file:///pool", True, False), ("memory://pool", False, True)],
)
def test_kinds_of_storage_are_told_apart(location, local, whole):
    root = UPath(location)
    assert (is_local(root), shows_whole_files(root)) == (local, whole)
    assert full_path(root, "a/0.tar").endswith("pool/a/0.tar")


def list_paths(folder: Path | str, pattern: str = "*.tar", home: Path = Path()) -> list[str]:
    reader = build_reader(WebDatasetSource(path=str(folder), pattern=pattern), home)
    return [file.path for file in reader.list_files()]


def fill(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(ONE)


def test_files_are_sorted_by_path_and_unfinished_ones_left_out(tmp_path):
    fill(tmp_path, "b.tar", "a.tar", "B.tar", ".a.tar", "_a.tar", "a.tar.tmp", "notes.txt", "folder/c.tar")
    (tmp_path / "folder.tar").mkdir()
    assert list_paths(tmp_path) == ["B.tar", "a.tar", "b.tar"]
    assert list_paths(tmp_path, "*") == ["B.tar", "a.tar", "b.tar", "notes.txt"]


def test_a_pattern_may_span_folders(tmp_path):
    fill(tmp_path, "a.tar", "x/b.tar", "x/y/c.tar", "_tmp/d.tar", "x/.y/e.tar")
    assert list_paths(tmp_path, "**/*.tar") == ["a.tar", "x/b.tar", "x/y/c.tar"]
    assert list_paths(tmp_path, "x/*.tar") == ["x/b.tar"]


def test_a_folder_with_glob_characters_is_taken_as_it_is(tmp_path):
    fill(tmp_path / "pool[1]*", "a.tar")
    assert list_paths(tmp_path / "pool[1]*") == ["a.tar"]


def test_a_relative_path_counts_from_home(tmp_path):
    fill(tmp_path / "data", "a.tar")
    assert list_paths("data", home=tmp_path) == ["a.tar"]
    assert list_paths("./data/", home=tmp_path) == ["a.tar"]


def test_a_home_folder_and_uris_are_resolved(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert str(resolve_location("~/pool", Path("/elsewhere"))) == str(tmp_path / "pool")
    assert resolve_location(f"file://{tmp_path}", Path("/elsewhere")).path == str(tmp_path)
    assert resolve_location("memory://pool", Path("/elsewhere")).protocol == "memory"


def test_the_version_is_the_modification_time_in_ns(tmp_path):
    fill(tmp_path, "a.tar")
    os.utime(tmp_path / "a.tar", ns=(0, 1_700_000_000_123_456_789))
    (file,) = build_reader(WebDatasetSource(path=str(tmp_path)), Path()).list_files()
    assert (file.version, file.size_bytes) == ("1700000000123456789", len(ONE))


def test_links_are_followed_and_a_broken_one_fails_only_when_read(tmp_path):
    fill(tmp_path / "elsewhere", "a.tar")
    pool = tmp_path / "pool"
    pool.mkdir()
    (pool / "good.tar").symlink_to(tmp_path / "elsewhere" / "a.tar")
    (pool / "gone.tar").symlink_to(tmp_path / "nowhere.tar")
    reader = build_reader(WebDatasetSource(path=str(pool)), Path())
    assert [file.path for file in reader.list_files()] == ["gone.tar", "good.tar"]
    assert summary(reader.read("good.tar")) == ["a"]
    with pytest.raises(ShardError):
        list(reader.read("gone.tar"))


def test_a_pool_may_lie_on_any_fsspec_file_system():
    root = UPath("memory://listing-pool/raw")
    root.mkdir(parents=True, exist_ok=True)
    (root / "x").mkdir(exist_ok=True)
    (root / "x" / "0.tar").write_bytes(ONE)
    (root / "x" / ".0.tar").write_bytes(ONE)
    reader = build_reader(WebDatasetSource(path=str(root), pattern="**/*.tar"), Path("/elsewhere"))
    (file,) = reader.list_files()
    assert (file.path, file.size_bytes) == ("x/0.tar", len(ONE))
    assert summary(reader.read("x/0.tar")) == ["a"]
    assert reader.list_files() == [file]
    time.sleep(0.002)
    (root / "x" / "0.tar").write_bytes(ONE)
    assert reader.list_files()[0].version != file.version
    with pytest.raises(ShardError, match="no such file"):
        list(reader.read("x/1.tar"))


def test_an_etag_is_preferred_to_times(monkeypatch):
    root = UPath("memory://etag-pool")
    root.mkdir(parents=True, exist_ok=True)

    def glob_with(**facts):
        entry = {"/etag-pool/a.tar": {"type": "file", "size": 1, **facts}}
        monkeypatch.setattr(type(root.fs), "glob", lambda *_, **__: entry)
        return build_reader(WebDatasetSource(path="memory://etag-pool"), Path()).list_files()[0].version

    assert glob_with(ETag='"1"', LastModified="now") == glob_with(ETag='"1"', LastModified="later")
    assert glob_with(ETag='"1"') != glob_with(ETag='"2"')
    assert glob_with(**{"last-modified": "now"}) != glob_with(**{"last-modified": "later"})
    assert glob_with() == "size=1"


def test_a_missing_folder_and_an_empty_one_name_the_remedy(tmp_path):
    with pytest.raises(PoolSpecError, match=r"source\.path .*nowhere.* not a folder"):
        list_paths(tmp_path / "nowhere")
    fill(tmp_path, "a.zip", "_b.tar")
    with pytest.raises(PoolSpecError, match=r"source\.pattern is '\*\.tar'"):
        list_paths(tmp_path)


def test_one_file_has_size_and_version_whatever_its_name(tmp_path):
    assert list_one_file(UPath(tmp_path / "_labels.csv")) is None
    assert list_one_file(UPath(tmp_path)) is None
    (tmp_path / "_labels.csv").write_text("a,b")
    file = list_one_file(UPath(tmp_path / "_labels.csv"))
    assert (file.path, file.size_bytes) == ("_labels.csv", 3)
    os.utime(tmp_path / "_labels.csv", ns=(0, 0))
    assert list_one_file(UPath(tmp_path / "_labels.csv")).version != file.version
    with UPath("memory://sight/labels.csv").open("w") as remote:
        remote.write("a,b")
    assert list_one_file(UPath("memory://sight/labels.csv")).size_bytes == 3
