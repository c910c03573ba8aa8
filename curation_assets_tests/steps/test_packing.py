"""Loose files as tars: the same samples, the same bytes each time, also after an interruption."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from upath import UPath

from curation_assets.errors import PoolSpecError
from curation_assets.formats.base import RawSample, Rejection
from curation_assets.formats.webdataset import WebDatasetReader
from curation_assets.pools.source import WebDatasetSource
from curation_assets.steps.context import PoolAccess
from curation_assets.steps.packing import RECORD, Packed, pack, source_of_tars
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets_tests.projects import spec_of

PICTURES = {
    "cats/a.jpg": b"\xff\xd8a",
    "cats/a.png": b"\x89PNGa",
    "cats/b.v2.jpg": b"\xff\xd8b",
    "cats/b.v2.txt": b"a cat",
    "cats/b.v2.json": b'{"licence": "CC0", "folder": "ignored"}',
    "dogs/deep/[x] #1%.JPG": b"\xff\xd8x",
    "dogs/deep/[x] #1%.json": b"[1]",
    "dogs/é.jpg": b"\xff\xd8e",
    "dogs/é.json": b'{"score": NaN}',
    "top.jpg": b"",
    "notes.txt": b"of nothing",
}


@pytest.fixture
def pool(tmp_path: Path) -> PoolAccess:
    for name, content in PICTURES.items():
        path = tmp_path / "raw" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return access(tmp_path)


def access(home: Path, modality: str = "image") -> PoolAccess:
    source = {"format": "folder", "modality": modality, "path": "raw", "label_fields": ["folder"]}
    text_encoder = {"kind": "sentence_transformers", "model": "none"}
    changes = {"encoder": text_encoder} if modality == "text" else {}
    return PoolAccess(spec_of(source=source, **changes), PoolStorage(str(home / "curated"), "p"), str(home))


def packed(pool: PoolAccess, out: Path, size: int = 10**9) -> Packed:
    return pack(pool, UPath(out), size, lambda done, detail: None)


def read(out: Path) -> list[RawSample | Rejection]:
    reader = WebDatasetReader(UPath(out), WebDatasetSource(path=str(out)))
    return [item for file in reader.list_files() for item in reader.read(file.path)]


def bytes_of(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.glob("*.tar"))}


def test_every_file_becomes_a_sample_with_what_lies_beside_it(pool: PoolAccess, tmp_path: Path) -> None:
    result = packed(pool, tmp_path / "tars")
    samples = {
        str(item.attributes["path"]): item for item in read(tmp_path / "tars") if isinstance(item, RawSample)
    }
    own = [name for name in PICTURES if name.lower().endswith((".jpg", ".png"))]
    assert sorted(samples) == sorted(own)
    assert {name: sample.content for name, sample in samples.items()} == {
        name: PICTURES[name] for name in own
    }
    assert len({sample.sample_id for sample in samples.values()}) == len(own)
    assert [samples[name].attributes["folder"] for name in own] == [
        "cats",
        "cats",
        "cats",
        "deep",
        "dogs",
        None,
    ]
    b = samples["cats/b.v2.jpg"]
    assert (b.sample_id, b.parts["txt"], b.attributes["licence"]) == ("cats/b_v2", b"a cat", "CC0")
    [tar] = result.tars
    assert (result.n_files, tar.n_captions, tar.n_attributes) == (6, 1, 1)
    assert sorted(tar.unreadable) == ["dogs/deep/[x] #1%.json", "dogs/é.json"]
    assert all((tmp_path / "raw" / name).read_bytes() == content for name, content in PICTURES.items())


def test_the_size_decides_the_tars_and_packing_goes_on(pool: PoolAccess, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert len(packed(pool, whole, 4_000).tars) == 6
    packed(pool, cut, 4_000)
    # As a kill between the two leaves it: a tar that is not recorded yet, and others that are not written.
    record = json.loads((cut / RECORD).read_text())
    for name in ("00003.tar", "00004.tar", "00005.tar"):
        del record["tars"][name]
    record.pop("seal")
    (cut / RECORD).write_text(json.dumps(record))
    (cut / "00004.tar").unlink()
    (cut / "00005.tar").unlink()
    (cut / "00001.tar").unlink()
    assert packed(pool, cut, 4_000).n_kept == 2
    assert bytes_of(cut) == bytes_of(whole)
    assert packed(pool, cut, 4_000).n_kept == 6


def test_what_changed_is_packed_again(pool: PoolAccess, tmp_path: Path) -> None:
    out = tmp_path / "tars"
    packed(pool, out, 4_000)
    (tmp_path / "raw" / "cats" / "b.v2.txt").write_bytes(b"a black cat")
    assert packed(pool, out, 4_000).n_kept == 5
    assert packed(pool, out).n_kept == 0
    assert sorted(bytes_of(out)) == ["00000.tar"], "tars of smaller size are gone"


def test_texts_are_packed_as_texts(tmp_path: Path) -> None:
    (tmp_path / "raw" / "en").mkdir(parents=True)
    (tmp_path / "raw" / "en" / "a.md").write_text("hello")
    pool = access(tmp_path, modality="text")
    packed(pool, tmp_path / "tars")
    reader = WebDatasetReader(
        UPath(tmp_path / "tars"), WebDatasetSource(path=str(tmp_path / "tars"), modality="text")
    )
    [sample] = reader.read("00000.tar")
    assert isinstance(sample, RawSample)
    assert (sample.sample_id, sample.content, sample.attributes["folder"]) == ("en/a", b"hello", "en")


def test_tars_of_others_are_left_alone(pool: PoolAccess, tmp_path: Path) -> None:
    out = tmp_path / "tars"
    out.mkdir()
    (out / "mine.tar").write_bytes(b"")
    with pytest.raises(PoolSpecError, match=r"tars that are not of this pool \(mine.tar\)"):
        packed(pool, out)


def test_only_folders_are_packed(tmp_path: Path) -> None:
    pool = PoolAccess(spec_of(), PoolStorage(str(tmp_path), "p"), str(tmp_path))
    with pytest.raises(PoolSpecError, match="only pools of the format folder"):
        packed(pool, tmp_path / "tars")


def test_the_settings_of_the_tars_keep_the_labels(pool: PoolAccess) -> None:
    assert source_of_tars(pool.spec, "tars") == {
        "format": "webdataset", "path": "tars", "modality": "image", "label_fields": ["folder"],
    }  # fmt: skip
