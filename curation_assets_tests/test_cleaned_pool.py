"""A pool with duplicates and an evaluation set, run by the command line, that grows by a shard of copies."""

from __future__ import annotations

import io
import shutil
import tarfile
from collections import Counter
from pathlib import Path

import polars as pl
from PIL import Image

from curation_assets_tests.projects import SMALL_POOL, Project, make_project

CLEANING = {
    "deduplication": {"threshold": 0.99},
    "decontamination": {
        "evaluation_sets": [
            {"name": "exam", "source": {"format": "folder", "modality": "image", "path": "data/exam"}}
        ]
    },
    "refit": "never",
    "targets": [{"name": "small", "size": 12}],
}


def images(tar: Path) -> dict[str, bytes]:
    with tarfile.open(tar) as archive:
        names = [name for name in archive.getnames() if name.endswith(".png")]
        return {name[:-4]: archive.extractfile(name).read() for name in names}  # type: ignore[union-attr]


def resized(content: bytes) -> bytes:
    buffer = io.BytesIO()
    image = Image.open(io.BytesIO(content)).convert("RGB")
    image.resize((image.width * 3 // 2, image.height * 3 // 2)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def ledger(project: Project) -> pl.DataFrame:
    shards = project.storage.shards()
    return pl.concat([project.storage.output("ledger", shard.key).table("parquet") for shard in shards])


def test_copies_and_evaluation_samples_stay_out_while_the_tree_stands(tmp_path: Path) -> None:
    project = make_project(tmp_path, n_images=48, samples_per_shard=24)
    project.write_pool({**SMALL_POOL, **CLEANING})
    raw = project.folder / "data" / "raw" / "emoji"
    exam = project.folder / "data" / "exam"
    exam.mkdir(parents=True)
    examined = sorted(images(raw / "00000.tar").items())[:2]
    for name, content in examined:
        (exam / f"{name}.jpg").write_bytes(resized(content))
    code, output = project.run("run", "--pool", "emoji")
    assert code == 0, output
    first = ledger(project)
    contaminated = first.filter(pl.col("fate") == "contaminated")
    assert {name for name, _ in examined} <= set(contaminated["sample_id"])
    assert set(contaminated["twin_set"]) == {"exam"}
    fits = {name: time for name, time in project.modified_times().items() if "_clusters/" in name}

    shutil.copy(raw / "00001.tar", raw / "copies.tar")
    code, output = project.run("run", "--pool", "emoji")
    assert code == 0, output
    assert "check" not in output.split("copies")[-1], output
    second = ledger(project)
    assert len(second) == len(first) + 24
    new = second.tail(24)
    # Every copy is excluded: as one of its twin that stays, or with it as too close to the exam.
    assert set(new["fate"]) <= {"duplicate", "contaminated", "rejected"}, Counter(new["fate"])
    assert second.head(len(first))["fate"].to_list() == first["fate"].to_list(), "what was decided stands"
    assert {name: time for name, time in project.modified_times().items() if "_clusters/" in name} == fits

    code, output = project.run("explain", str(contaminated["sample_id"][0]), "--pool", "emoji")
    assert code == 0, output
    assert "contaminated" in output
    assert "exam" in output
    code, output = project.run("run", "--pool", "emoji")
    assert "nothing to do" in output
