from __future__ import annotations

import os
import time
from importlib import import_module
from pathlib import Path

import pytest
from upath import UPath

from curation_assets.errors import PoolSpecError, ShardError
from curation_assets.formats import build_reader
from curation_assets.formats.accounts import left_out_lines
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


def test_links_are_followed_and_a_broken_one_fails_only_when_read(tmp_path):
    fill(tmp_path / "elsewhere", "a.tar")
    pool = tmp_path / "pool"
    pool.mkdir()
    (pool / "good.tar").symlink_to(tmp_path / "elsewhere" / "a.tar")
    (pool / "gone.tar").symlink_to(tmp_path / "nowhere.tar")
    reader = build_reader(WebDatasetSource(path=str(pool), follow_links="anywhere"), Path())
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
        entry = {"name": "/etag-pool/a.tar", "type": "file", "size": 1, **facts}
        monkeypatch.setattr(type(root.fs), "ls", lambda *_, **__: [entry])
        return build_reader(WebDatasetSource(path="memory://etag-pool"), Path()).list_files()[0].version

    assert glob_with(ETag='"1"', LastModified="now") == glob_with(ETag='"1"', LastModified="later")
    assert glob_with(ETag='"1"') != glob_with(ETag='"2"')
    assert glob_with(**{"last-modified": "now"}) != glob_with(**{"last-modified": "later"})
    assert glob_with() == "size=1"


def look(folder: Path, **source) -> tuple[list[str], dict[str, dict[str, int]]]:
    reader = build_reader(
        SOURCES[source.setdefault("format", "webdataset")](path=str(folder), **source), Path()
    )
    listing = reader.look()
    return [file.path for file in listing.files], dict(listing.left_out)


def test_what_is_left_out_is_counted_by_cause_and_extension(tmp_path):
    fill(
        tmp_path,
        "a.tar",
        "a.parquet",
        "a_stats.json",
        "b.parquet",
        "README.md",
        "_c.tar",
        "d.tar.part",
        "x/e.tar",
    )
    fill(tmp_path, ".git/config", "LICENSE")
    os.mkfifo(tmp_path / "pipe.tar")
    assert look(tmp_path) == (
        ["a.tar"],
        {
            "of another kind (pipe, socket, device)": {".tar": 1},
            "that go with datasets (README, LICENSE, ...)": {".md": 1, "no extension": 2},
            "that source.pattern does not enter": {"x": 1},
            "that source.pattern does not match": {".parquet": 1, ".part": 1},
            "named with '.' or '_' at the beginning": {".tar": 1},
        },
    )  # fmt: skip


def test_a_folder_of_images_counts_other_extensions(tmp_path):
    fill(tmp_path, "a.jfif", "b.PGM", "c.avif", "d.jp2", "e.jp2", "f.heic", "0af4", "g.png.tmp", "h.png.md5")
    files, left_out = look(tmp_path, format="folder", modality="image")
    assert files == ["a.jfif", "b.PGM", "c.avif"]
    assert left_out == {
        "named like an unfinished download": {".tmp": 1},
        "without a known extension": {".heic": 1, ".jp2": 2, ".md5": 1, "no extension": 1},
    }


def test_sidecars_are_no_files_of_the_pool(tmp_path):
    fill(tmp_path, "a.jsonl", "a.jsonl.md5", "a.jsonl.gz", "a.jsonl.gz.idx")
    assert look(tmp_path, format="jsonl") == (
        ["a.jsonl", "a.jsonl.gz"],
        {"beside another file that it describes": {".idx": 1, ".md5": 1}},
    )


def test_left_out_files_are_told_in_words():
    counts = {
        "without a known extension": {".jp2": 8, ".heic": 6},
        "that source.pattern does not enter": {"x": 1},
    }
    assert list(left_out_lines(counts)) == [
        "1 folder that source.pattern does not enter was left out: x 1",
        "14 files without a known extension were left out: .jp2 8, .heic 6",
    ]


def test_a_pattern_that_matches_nothing_is_told_what_there_is(tmp_path):
    fill(tmp_path, "c4.00000.json.gz", "c4.00001.json.gz")
    with pytest.raises(PoolSpecError) as refused:
        look(tmp_path, format="jsonl")
    assert "2 files that source.pattern does not match were left out: .gz 2; e.g. c4.0000" in str(
        refused.value
    )
    (tmp_path / "empty").mkdir()
    with pytest.raises(PoolSpecError, match=r"matches no file in '[^']*': correct the pattern or add files"):
        look(tmp_path / "empty", format="jsonl")


def test_many_endings_are_counted_together(tmp_path):
    fill(tmp_path, "a.tar", *(f"b.x{n}" for n in range(50)))
    (kinds,) = look(tmp_path)[1].values()
    assert len(kinds) == 31
    assert sum(kinds.values()) == 50


def test_linked_folders_are_entered_once(tmp_path):
    fill(tmp_path / "disk", "c/2.tar")
    pool = tmp_path / "pool"
    fill(pool, "a/0.tar", "b/1.tar")
    (pool / "c").symlink_to(tmp_path / "disk" / "c")
    (pool / "d").symlink_to(tmp_path / "disk")
    (pool / "a" / "loop").symlink_to(pool)
    (pool / "A").symlink_to(pool / "a")
    assert look(pool, pattern="**/*.tar", follow_links="anywhere") == (
        ["a/0.tar", "b/1.tar", "c/2.tar"],
        {"to a folder that is listed already": {"A": 1, "c": 1, "loop": 1}},
    )


def test_a_folder_that_cannot_be_listed_is_an_error(tmp_path, monkeypatch):
    fill(tmp_path, "2022/a.tar", "2023/a.tar")
    scandir = os.scandir

    def failing(path):
        if str(path).endswith("2023"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", failing)
    with pytest.raises(
        PoolSpecError, match=r"the folder '2023' of the pool cannot be listed \(PermissionError"
    ):
        list_paths(tmp_path, "**/*.tar")
    # The pattern does not lead there.
    assert list_paths(tmp_path, "2022/*.tar") == ["2022/a.tar"]


def test_a_remote_folder_that_cannot_be_listed_is_an_error(monkeypatch):
    root = UPath("memory://unlistable")
    for name in ("a", "b"):
        (root / name).mkdir(parents=True, exist_ok=True)
        (root / name / "0.tar").write_bytes(ONE)
    ls = type(root.fs).ls

    def failing(self, path, *args, **kwargs):
        if path.endswith("/b"):
            raise OSError("stale handle")
        return ls(self, path, *args, **kwargs)

    monkeypatch.setattr(type(root.fs), "ls", failing)
    with pytest.raises(PoolSpecError, match=r"cannot be listed \(OSError: stale handle\)"):
        list_paths(str(root), "**/*.tar")


@pytest.mark.parametrize(
    "pattern",
    [
        "*.tar",
        "**/*.tar",
        "*/*.tar",
        "x/*.tar",
        "x/**/*.tar",
        "**/y/*.tar",
        "?.tar",
        "[ab].tar",
        "**",
        "x*/**",
    ],
)
def test_patterns_match_as_those_of_fsspec(tmp_path, pattern):
    fill(tmp_path, "a.tar", "b.tar", "cc.tar", "x/a.tar", "x/y/b.tar", "xx/y/z/c.tar", "y/d.tar", "e.txt")
    root = UPath(tmp_path)
    found = root.fs.glob(f"{tmp_path}/{pattern}", detail=True).items()
    expected = sorted(
        Path(path).relative_to(tmp_path).as_posix() for path, facts in found if facts["type"] == "file"
    )
    assert list_paths(tmp_path, pattern) == expected


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
