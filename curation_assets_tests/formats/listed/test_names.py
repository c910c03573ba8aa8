"""Names of files: companions of datasets are counted without a word, names without an extension say nothing."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from curation_assets.formats import build_reader
from curation_assets.formats.accounts import left_out_lines
from curation_assets.formats.base import RawSample
from curation_assets.formats.listed.names import has_no_extension, is_companion
from curation_assets.pools.source import SOURCES
from curation_assets_tests.formats.tars import image_bytes, summary

QUIET = [
    "README", "README.md", "readme.txt", "LICENSE", "LICENCE.txt", "COPYING", "NOTICE", "ATTRIBUTION.txt",
    "CITATION.cff", "CITATION.bib", "_complete.json", "_pool.json", "_SUCCESS", ".gitattributes", ".DS_Store",
    "Thumbs.db", "dataset_info.json", "x/y/README.md",
]  # fmt: skip
LOUD = [
    "license_plates.zip",
    "readme_images.zip",
    "README.jpg",
    "a.parquet",
    "_temporary.jsonl",
    "notes.txt",
    "_a.json",
]


def look(folder: Path, **source: Any) -> tuple[list[str], dict[str, Any], list[str]]:
    settings = {"format": "jsonl", "path": str(folder), **source}
    listing = build_reader(SOURCES[settings["format"]](**settings), folder).look()
    return (
        [file.path for file in listing.files],
        dict(listing.left_out),
        list(left_out_lines(listing.left_out)),
    )


@pytest.mark.parametrize("name", QUIET)
def test_companions_are_known(name):
    assert is_companion(name)


@pytest.mark.parametrize("name", LOUD)
def test_other_names_are_no_companions(name):
    assert not is_companion(name)


def test_companions_are_counted_without_a_line(tmp_path):
    for name in ("a.jsonl", *QUIET, ".git/config"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"{}\n")
    files, left_out, lines = look(tmp_path)
    assert files == ["a.jsonl"]
    assert sum(left_out["that go with datasets (README, LICENSE, ...)"].values()) == len(QUIET) + 1
    assert not lines
    (tmp_path / "b.zip").write_bytes(b"")
    assert look(tmp_path)[2] == ["1 file that source.pattern does not match was left out: .zip 1"]


def test_a_readme_of_a_pool_of_texts_is_a_text(tmp_path):
    for name in ("README.md", "a.txt", "LICENSE"):
        (tmp_path / name).write_text("words")
    assert look(tmp_path, format="folder", modality="text")[0] == ["README.md", "a.txt"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("0f3a", True),
        ("a.0001", True),
        ("a.jpg?w=3", True),
        ("x.y/a", True),
        ("a.jpg", False),
        ("a.bin", False),
    ],
)
def test_some_names_say_nothing_of_the_content(name, expected):
    assert has_no_extension(name) is expected


def test_images_without_an_extension_are_known_by_their_first_bytes(tmp_path):
    kinds = {
        "0f3a": "PNG",
        "frame.0001": "JPEG",
        "b.jpg?w=3": "WEBP",
        "bmp": "BMP",
        "ppm": "PPM",
        "tif": "TIFF",
    }
    for name, kind in kinds.items():
        (tmp_path / name).write_bytes(image_bytes(image_format=kind))
    (tmp_path / "text").write_text("BM is how bitmaps begin, P6 portable ones")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "LICENSE").write_text("MIT")
    (tmp_path / "photo.dat").write_bytes(image_bytes())
    (tmp_path / "gone").symlink_to("nothing")
    source = {"format": "folder", "modality": "image"}
    files, _, lines = look(tmp_path, **source)
    assert files == sorted(kinds)
    assert lines == ["4 files without a known extension were left out: no extension 3, .dat 1"]
    reader = build_reader(SOURCES["folder"](path=str(tmp_path), **source), tmp_path)
    samples = [sample for file in files for sample in reader.read(file)]
    assert summary(samples) == files
    assert [next(iter(s.parts)) for s in samples if isinstance(s, RawSample)] == [
        "png", "webp", "bmp", "jpg", "ppm", "tif"
    ]  # fmt: skip
    shutil.copy(tmp_path / "text", tmp_path / "0f3a")
    [changed] = reader.read("0f3a")
    assert list(changed.parts) == ["jpg"], "its decoding rejects it"
