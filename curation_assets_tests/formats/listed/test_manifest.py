"""A manifest instead of a listing: read whole, or refused with what is wrong."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from upath import UPath

from curation_assets.errors import PoolSpecError
from curation_assets.formats.base import SourceFile
from curation_assets.formats.folder import FolderReader
from curation_assets.formats.listed.manifest import read_manifest, version_of
from curation_assets.formats.webdataset import WebDatasetReader
from curation_assets.graph.steps import pool_steps
from curation_assets.pools.source import FolderSource, WebDatasetSource
from curation_assets.storage.shards import relisted
from curation_assets_tests.projects import spec_of

ROWS = {"path": ["b/1.jpg", "a é[*].jpg"], "size": [5, 0], "etag": ["007", "1e5"]}


def parquet(folder: Path, columns: dict[str, list[object]]) -> UPath:
    pl.DataFrame(columns).write_parquet(folder / "files.parquet")
    return UPath(folder / "files.parquet")


def refused(path: UPath) -> str:
    with pytest.raises(PoolSpecError) as caught:
        read_manifest(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_parquet_and_csv_say_the_same(tmp_path: Path) -> None:
    expected = [
        SourceFile("b/1.jpg", 5, version_of("007")),
        SourceFile("a é[*].jpg", 0, version_of("1e5")),
    ]
    assert read_manifest(parquet(tmp_path, ROWS)) == expected
    text = "etag,size,path,owner\n007,5,b/1.jpg,me\n1e5,0,a é[*].jpg,\n"
    (tmp_path / "files.csv").write_text(text)
    (tmp_path / "files.csv.gz").write_bytes(gzip.compress(text.encode()))
    assert read_manifest(UPath(tmp_path / "files.csv")) == expected
    assert read_manifest(UPath(tmp_path / "files.csv.gz")) == expected


def test_times_are_versions(tmp_path: Path) -> None:
    moments = [datetime(2026, 1, 2, 3, 4, 5, number, UTC) for number in (6, 7)]
    first, second = read_manifest(
        parquet(tmp_path, {"path": ["a", "b"], "size": [1, 1], "modified": moments})
    )
    assert first.version != second.version


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"size": [1], "etag": ["x"]}, "has no column path"),
        ({"path": ["a"], "etag": ["x"]}, "has no column size"),
        ({"path": ["a"], "size": [1]}, "has no column version or etag or modified: it has path, size"),
        ({"path": ["a", "b", "a"], "size": [1, 1, 1], "etag": ["x"] * 3}, "more than once: a"),
        ({"path": ["a", None], "size": [1, 1], "etag": ["x", "x"]}, "no path in row 1"),
        ({"path": ["a", "b"], "size": [1, 1], "etag": ["x", ""]}, "no etag in row 1"),
        ({"path": ["a", "b"], "size": [1, None], "etag": ["x", "x"]}, "has the size None in row 1"),
        ({"path": ["a"], "size": [-1], "etag": ["x"]}, "has the size -1 in row 0"),
        ({"path": ["a"], "size": ["big"], "etag": ["x"]}, "whose column size is no number of bytes"),
        ({"path": [["a"]], "size": [1], "etag": ["x"]}, "whose column path is no text"),
        *(
            ({"path": ["a", path], "size": [1, 1], "etag": ["x", "x"]}, f"below source.path: {path}")
            for path in ("../a", "a/../../b", "/etc/passwd", "s3://bucket/a", "a//b", "./a", "a/")
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, columns: dict[str, list[object]], words: str) -> None:
    message = refused(parquet(tmp_path, columns))
    assert words in message
    assert message.startswith("source.manifest is 'files.parquet'")


def test_a_file_that_is_no_manifest_is_named(tmp_path: Path) -> None:
    assert "there is no such file" in refused(UPath(tmp_path / "files.parquet"))
    (tmp_path / "files.parquet").write_bytes(b"PAR1 and nothing")
    assert "cannot be read" in refused(UPath(tmp_path / "files.parquet"))


def test_a_pool_lists_what_its_manifest_names_by_the_same_rules(tmp_path: Path) -> None:
    names = ["a.jpg", "_b.jpg", "c.txt", "d.jpg.part", "x/e.png"]
    path = parquet(tmp_path, {"path": names, "size": [1] * 5, "etag": ["x"] * 5})
    (tmp_path / "unlisted.jpg").write_bytes(b"x")
    reader = FolderReader(
        UPath(tmp_path),
        FolderSource(format="folder", modality="image", path=str(tmp_path), manifest="files.parquet"),
    )
    listing = reader.look()
    assert [file.path for file in listing.files] == ["a.jpg", "x/e.png"]
    assert sum(n for kinds in listing.left_out.values() for n in kinds.values()) == 3
    parquet(tmp_path, {"path": ["z.jpg"], "size": [1], "version": ["2"]})
    assert reader.list_files() == [SourceFile("z.jpg", 1, version_of("2"))], "another manifest is read"
    path.unlink()
    tars = WebDatasetReader(UPath(tmp_path), WebDatasetSource(path=str(tmp_path), manifest="files.parquet"))
    with pytest.raises(PoolSpecError, match="there is no such file"):
        tars.look()


@pytest.mark.parametrize(
    "manifest", ["../files.parquet", "/files.parquet", "s3://b/files.parquet", "files.txt"]
)
def test_a_manifest_lies_in_the_folder_of_the_pool(manifest: str) -> None:
    with pytest.raises(ValueError, match="manifest"):
        WebDatasetSource(path="raw", manifest=manifest)


def test_a_manifest_makes_nothing_out_of_date() -> None:
    plain = spec_of()
    named = spec_of(
        source={"path": "data/raw/emoji", "label_fields": ["subgroup", "group"], "manifest": "files.csv"}
    )
    assert "manifest" not in plain.source.model_dump()
    for spec in (plain, named):
        assert "manifest" not in str(pool_steps(spec)["raw_pool"].settings)


@pytest.mark.parametrize(
    ("first", "second"),
    [("v1~2", "v1~3"), ("v1.2", "v1.3"), ("2026-01-02 03:04:05.6", "2026-01-02 03:04:05.7"), ("~", ".")],
)
def test_versions_of_any_form_tell_a_change(tmp_path: Path, first: str, second: str) -> None:
    def listed(version: str) -> list[SourceFile]:
        return read_manifest(parquet(tmp_path, {"path": ["a"], "size": [1], "version": [version]}))

    known = relisted(listed(first), 1, []).shards
    assert not relisted(listed(first), 1, known).summary
    assert relisted(listed(second), 1, known).changed == ["a"]
