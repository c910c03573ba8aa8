from __future__ import annotations

import dataclasses
import io
import json
import re
import subprocess
import tarfile
import tempfile
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from curation_assets.errors import ShardError
from curation_assets.formats import build_writer, output_suffix
from curation_assets.formats.base import RawSample
from curation_assets.formats.webdataset_writer import WebDatasetWriter
from curation_assets_tests.formats.tars import image_bytes, read_bytes, tar_bytes

PNG = image_bytes("blue")


def make_sample(key: str = "000", file: str = "0.tar") -> RawSample:
    parts = {"png": PNG, "txt": "ein Stück".encode(), "json": b'{ "label": "a" }'}
    return RawSample(key, file, f"{key}.png", 512, PNG, parts, {"label": "a"})


def write(path, pairs) -> bytes:
    with WebDatasetWriter(path) as writer:
        for sample, record in pairs:
            writer.write(sample, record)
    return path.read_bytes()


def names_of(content: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        return tar.getnames()


def test_parts_are_unchanged_and_the_record_is_compact_json(tmp_path):
    record = {
        "id": "000",
        "distance": np.float32(0.5),
        "clusters": [np.int64(3), 1],
        "label": "Stück",
        "none": None,
    }
    content = write(tmp_path / "0.tar", [(make_sample("b/000"), record)])
    assert names_of(content) == ["b/000.png", "b/000.txt", "b/000.json", "b/000.curation.json"]
    (sample,) = read_bytes(tmp_path, content, "read.tar")
    document = sample.parts["curation.json"].decode()
    assert document == '{"clusters":[3,1],"distance":0.5,"id":"000","label":"Stück","none":null}'
    assert {
        name: part for name, part in sample.parts.items() if name != "curation.json"
    } == make_sample().parts


def test_equal_samples_give_equal_bytes(tmp_path):
    pairs = [(make_sample(f"{n:03}"), {"b": n, "a": 1}) for n in range(3)]
    first = write(tmp_path / "0.tar", pairs)
    assert (
        write(tmp_path / "1.tar", [(sample, dict(sorted(record.items()))) for sample, record in pairs])
        == first
    )
    assert write(tmp_path / "1.tar", pairs[::-1]) != first
    with tarfile.open(tmp_path / "0.tar") as tar:
        facts = {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in tar.getmembers()}
    assert facts == {(0, 0, 0, "", "", 0o644)}


def test_an_older_record_is_replaced(tmp_path):
    sample = make_sample()
    sample = dataclasses.replace(sample, parts={**sample.parts, "curation.json": b"{}"})
    content = write(tmp_path / "0.tar", [(sample, {"round": 2})])
    assert names_of(content).count("000.curation.json") == 1
    assert read_bytes(tmp_path, content, "read.tar")[0].parts["curation.json"] == b'{"round":2}'


def test_a_key_of_two_files_is_qualified_by_the_second_file(tmp_path):
    content = write(
        tmp_path / "0.tar", [(make_sample(file="a.tar"), {}), (make_sample(file="x/b.v2.tar"), {})]
    )
    samples = read_bytes(tmp_path, content, "read.tar")
    assert [sample.sample_id for sample in samples] == ["000", "x/b.v2/000"]


def test_a_sample_written_twice_is_refused(tmp_path):
    with WebDatasetWriter(tmp_path / "0.tar") as writer:
        writer.write(make_sample(), {})
        with pytest.raises(ShardError, match="pass each sample once"):
            writer.write(make_sample(), {})


@pytest.mark.parametrize(("value", "error"), [(float("nan"), ValueError), (object(), TypeError)])
def test_a_record_that_is_no_json_is_refused_before_anything_is_written(tmp_path, value, error):
    with WebDatasetWriter(tmp_path / "0.tar") as writer:
        with pytest.raises(error):
            writer.write(make_sample(), {"distance": value})
        writer.write(make_sample(), {"distance": 1.0})
    assert len(names_of((tmp_path / "0.tar").read_bytes())) == 4


def test_a_failed_file_has_no_end_marker(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write(tmp_path / "0.tar", [(make_sample("a"), {}), (make_sample("b"), {"distance": float("inf")})])
    assert not (tmp_path / "0.tar").read_bytes().endswith(bytes(1024))


def test_no_sample_gives_a_valid_empty_tar(tmp_path):
    assert write(tmp_path / "0.tar", []) == tar_bytes([])


def test_the_webdataset_library_reads_it(tmp_path):
    import webdataset

    path = tmp_path / f"0.{output_suffix('webdataset')}"
    with build_writer("webdataset", path, record_schema=None) as writer:
        for n in range(3):
            writer.write(make_sample(f"{n:03}"), {"level_1": n, "name": "ä" * 200})
        writer.write(make_sample("000", "b.tar"), {"level_1": 7})
    samples = list(webdataset.WebDataset(str(path), shardshuffle=False).decode("pil"))
    assert [sample["__key__"] for sample in samples] == ["000", "001", "002", "b/000"]
    assert [sample["curation.json"]["level_1"] for sample in samples] == [0, 1, 2, 7]
    assert all(isinstance(sample["png"], Image.Image) and sample["txt"] == "ein Stück" for sample in samples)
    assert samples[0]["json"] == json.loads(make_sample().parts["json"])


def row_sample(sample_id: str, number: int = 0, **attributes) -> RawSample:
    text = f"text of {sample_id}".encode()
    return RawSample(sample_id, "a.parquet", f"row {number}", number, text, {"txt": text}, attributes)


def test_samples_that_lie_in_no_tar_get_a_key_of_their_id(tmp_path):
    import webdataset

    ids = [
        "plain-1_ä",
        "a.b",
        "a_b",
        "a/b",
        "../../etc/passwd",
        "https://x.org/1.jpg?w=1",
        "__meta__",
        "...",
        "x" * 200,
    ]
    content = write(
        tmp_path / "0.tar", [(row_sample(name, n), {"sample_id": name}) for n, name in enumerate(ids)]
    )
    names = names_of(content)
    assert names[0] == "plain-1_ä.txt"
    assert not any(name.startswith((".", "/", "__")) or "/" in name or len(name) > 100 for name in names)
    samples = list(webdataset.WebDataset(str(tmp_path / "0.tar"), shardshuffle=False).decode())
    assert [sample["curation.json"]["sample_id"] for sample in samples] == ids
    assert [sample["txt"] for sample in samples] == [f"text of {name}" for name in ids]
    keys = [sample["__key__"] for sample in samples]
    assert len(set(keys)) == len(ids)
    alone = write(tmp_path / "1.tar", [(row_sample("a/b"), {})])
    assert names_of(alone)[0] == f"{keys[3]}.txt", "the key does not depend on the other samples"


def test_a_path_is_no_key_and_its_folder_is_kept_apart(tmp_path):
    pictures = [
        RawSample(path, path, path, 0, PNG, {"png": PNG}) for path in ("cat/1.png", "dog/1.png", "cat/1.jpg")
    ]
    names = names_of(write(tmp_path / "0.tar", [(picture, {}) for picture in pictures]))
    assert len({name.split(".")[0] for name in names}) == 3
    assert [name.split("-")[0] for name in names[::2]] == ["cat_1_png", "dog_1_png", "cat_1_jpg"]


def test_attributes_without_a_part_become_json(tmp_path):
    sample = row_sample("a", language="de", score=float("nan"))
    [read] = read_bytes_of_text(write(tmp_path / "0.tar", [(sample, {})]))
    assert read == {"txt": b"text of a", "json": b'{"language":"de","score":null}', "curation.json": b"{}"}


def read_bytes_of_text(content: bytes) -> list[dict[str, bytes]]:
    samples: dict[str, dict[str, bytes]] = {}
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        for member in tar:
            key, _, extension = member.name.partition(".")
            samples.setdefault(key, {})[extension] = tar.extractfile(member).read()
    return list(samples.values())


UNSAFE = [
    "../../up", "/tmp/abs", "a/../b", "a/./b", "a//b", "..\\up", "C:\\win", "C:/win", "c:win", "a\nb", "bell\x07",
    "x" * 300,
    "/".join(["deep"] * 400), "nul", "a/COM1", "a\x7f", "a\x85", "aux.d/x", "a./b", "a ", "b /c", "a?b", "a*b", "a|b",
    'a"b', "a<b", "a:b/c", "lpt\u00b9", ".. /up",
]  # fmt: skip


def test_names_that_lead_out_or_cannot_be_unpacked_are_made_anew(tmp_path):
    content = write(tmp_path / "0.tar", [(make_sample(name), {"sample_id": name}) for name in UNSAFE])
    for name in names_of(content):
        assert re.fullmatch(r"[\w.-]{1,100}", name), name
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        # The default of Python 3.11 writes wherever a name leads.
        tar.extractall(tmp_path / "unpacked")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.tar", "unpacked"]
    files = [path for path in (tmp_path / "unpacked").rglob("*") if path.is_file()]
    assert len(files) == 4 * len(UNSAFE)
    ids = {json.loads(path.read_text())["sample_id"] for path in files if path.name.endswith("curation.json")}
    assert ids == set(UNSAFE), "the id itself stays in the record"
    alone = write(tmp_path / "1.tar", [(make_sample(UNSAFE[0]), {"sample_id": UNSAFE[0]})])
    assert names_of(alone) == names_of(content)[:4], "a name does not depend on the other samples"


def test_names_that_some_file_systems_take_for_one_are_told_apart(tmp_path):
    keys = ["IMG", "img", "Img", "caf\u00e9", "cafe\u0301", "./IMG", "x", "x.png/y", "z.png/y", "z"]
    content = write(tmp_path / "0.tar", [(make_sample(key), {}) for key in keys])
    names = [name.removeprefix("./") for name in names_of(content)]
    assert len({unicodedata.normalize("NFC", name).casefold() for name in names}) == 4 * len(keys)
    subprocess.run(["tar", "-xf", tmp_path / "0.tar", "-C", tmp_path], check=True)
    assert names_of(content)[:1] == ["IMG.png"]


def test_extensions_are_safe_too(tmp_path):
    endings = ["png", "a\\..\\b.txt", "x\ny", "y" * 150, "seg.png", "ok name", "jpg:stream", "jpg."]
    sample = dataclasses.replace(make_sample(), parts=dict.fromkeys(endings, PNG))
    names = names_of(write(tmp_path / "0.tar", [(sample, {})]))
    assert [names[0], *names[4:6]] == ["000.png", "000.seg.png", "000.ok name"]
    made = [*names[1:4], *names[6:8]]
    assert all(re.fullmatch(r"000\.[0-9a-f]{12}\.\w+", name) for name in made), names


@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1, max_size=6, unique=True
    )
)
def test_any_key_is_unpacked_inside_the_folder(keys):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "0.tar"
        names = names_of(write(path, [(make_sample(key), {}) for key in keys]))
    assert len(names) == 4 * len(keys)
    assert len({name.casefold() for name in names}) == len(names)
    for name in names:
        assert not name.startswith("/")
        assert ".." not in name.split("/")
