"""`curation-assets pack`: what it prints is a pool that reads the tars."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from curation_assets.formats import build_reader
from curation_assets.pools.source import WebDatasetSource
from curation_assets_tests.projects import SMALL_POOL, Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A pool of three loose files."""
    for name in ("cats/a.png", "cats/b.png", "dogs/c.png"):
        path = tmp_path / "raw" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\x89PNG" + name.encode())
    (tmp_path / "pools").mkdir()
    project = Project(tmp_path)
    source = {"format": "folder", "modality": "image", "path": "raw", "label_fields": ["folder"]}
    project.write_pool({**SMALL_POOL, "source": source})
    return project


def test_the_printed_source_reads_the_same_samples(project: Project, tmp_path: Path) -> None:
    out = tmp_path / "tars"
    code, output = project.run("pack", "--pool", "emoji", str(out), "--size", "10 kB")
    assert code == 0, output
    assert "3 files, 0.0 MB: 1 tar in" in output
    settings = yaml.safe_load(output[output.index("source:") :])["source"]
    assert settings["label_fields"] == ["folder"]
    reader = build_reader(WebDatasetSource(**settings), tmp_path)
    [tar] = reader.list_files()
    assert [item.sample_id for item in reader.read(tar.path)] == ["cats/a", "cats/b", "dogs/c"]
    code, output = project.run("pack", "--pool", "emoji", str(out), "--size", "10 kB")
    assert ", 1 of them from before" in output


@pytest.mark.parametrize(
    ("size", "words"), [("much", "cannot read 'much' as a size"), ("5", "at least 10,000 bytes")]
)
def test_sizes_that_make_no_sense_are_refused(
    project: Project, tmp_path: Path, size: str, words: str
) -> None:
    code, output = project.run("pack", "--pool", "emoji", str(tmp_path / "tars"), "--size", size)
    assert (code, words in " ".join(output.split())) == (2, True), output
    assert not (tmp_path / "tars").exists()
