from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from curation_assets.errors import PoolSpecError, ShardError
from curation_assets.formats import build_reader
from curation_assets.formats.base import RawSample, Rejection, ShardReader
from curation_assets.pools import FolderSource
from curation_assets_tests.formats.tars import image_bytes, summary
from curation_assets_tests.formats.test_jsonl import SCRIPTS

PNG = image_bytes()


def reader_of(path: Path | str, modality: str = "image", **changes: Any) -> ShardReader:
    source = {"path": str(path), "format": "folder", "modality": modality, **changes}
    return build_reader(FolderSource.model_validate(source), Path())


def fill(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def read_all(reader: ShardReader) -> list[RawSample | Rejection]:
    return [item for file in reader.list_files() for item in reader.read(file.path)]


def test_each_image_is_a_sample_named_by_its_path(tmp_path):
    files = ["cat/1.png", "cat/1.jpg", "dog/a b/2.JPEG", "top.webp", "notes.txt", ".x/3.png", "a.png.part"]
    fill(tmp_path, dict.fromkeys(files, PNG))
    results = read_all(reader_of(tmp_path))
    assert summary(results) == ["cat/1.jpg", "cat/1.png", "dog/a b/2.JPEG", "top.webp"]
    sample = results[2]
    assert isinstance(sample, RawSample)
    assert (sample.file, sample.member, sample.offset) == ("dog/a b/2.JPEG", "dog/a b/2.JPEG", 0)
    assert sample.content == PNG
    assert sample.parts == {"jpeg": PNG}
    assert [result.attributes["folder"] for result in results] == ["cat", "cat", "a b", None]


def test_each_text_is_a_sample(tmp_path):
    fill(tmp_path, {f"{n:02}.{'md' if n % 2 else 'txt'}": text.encode() for n, text in enumerate(SCRIPTS)})
    fill(tmp_path, {"x.png": PNG, "x.html": b"no"})
    results = read_all(reader_of(tmp_path, "text"))
    assert [result.content.decode() for result in results] == SCRIPTS
    assert {tuple(result.parts) for result in results} == {("txt",)}


def test_a_pattern_narrows_the_choice(tmp_path):
    fill(tmp_path, {"a/1.png": PNG, "b/2.png": PNG})
    assert summary(read_all(reader_of(tmp_path, pattern="b/*"))) == ["b/2.png"]


def test_files_without_bytes_and_too_large_texts_are_rejected(tmp_path):
    fill(tmp_path, {"a.txt": b"", "b.txt": b"x" * 11, "c.txt": b"x" * 10})
    results = read_all(reader_of(tmp_path, "text", max_text_bytes=10))
    assert summary(results) == ["a.txt: empty_file", "b.txt: text_too_large", "c.txt"]
    assert "11 bytes are above the limit of 10" in results[1].detail


def test_images_of_too_many_bytes_are_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("curation_assets.formats.folder.MOST_IMAGE_BYTES", len(PNG))
    fill(tmp_path, {"a.png": PNG, "b.png": PNG + b"x"})
    results = read_all(reader_of(tmp_path))
    assert summary(results) == ["a.png", "b.png: image_too_large"]
    assert results[1].detail.endswith(f"above the limit of {len(PNG):,}: shrink the image")


def test_no_file_of_the_modality_names_the_extensions(tmp_path):
    fill(tmp_path, {"a.txt": b"x"})
    with pytest.raises(PoolSpecError, match=r"matches no file with an extension of jpg jpeg png"):
        reader_of(tmp_path).list_files()


@pytest.mark.skipif(os.name == "nt", reason="names are bytes on POSIX alone")
def test_a_name_that_is_no_utf8_is_refused(tmp_path):
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png")).write_bytes(PNG)
    with pytest.raises(PoolSpecError, match=r"'\\udcff.png' of the pool is not valid UTF-8: rename"):
        reader_of(tmp_path).list_files()


def test_a_file_that_went_away_is_an_error(tmp_path):
    with pytest.raises(ShardError, match=r"a\.png: no such file"):
        list(reader_of(tmp_path).read("a.png"))


def test_a_pool_may_lie_on_any_fsspec_file_system():
    from upath import UPath

    root = UPath("memory://folder-pool/cat")
    root.mkdir(parents=True, exist_ok=True)
    (root / "1.png").write_bytes(PNG)
    reader = reader_of("memory://folder-pool")
    assert [(r.sample_id, r.content, r.attributes) for r in read_all(reader)] == [
        ("cat/1.png", PNG, {"folder": "cat"})
    ]
    assert all(reader.is_closed(file) for file in reader.list_files())
