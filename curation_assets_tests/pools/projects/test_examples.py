"""The example that a new pool starts from."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from curation_assets.pools.loading import parse_pool
from curation_assets.pools.projects.examples import SourceKind, pool_example


@pytest.mark.parametrize(
    ("kind", "file", "format_"),
    [
        ("images", "a/1.jpg", "folder"),
        ("images", "00000.tar", "webdataset"),
        ("images", "train.parquet", "parquet"),
        ("text", "a.txt", "folder"),
        ("text", "a.jsonl.zst", "jsonl"),
        ("text", "00000.tar", "webdataset"),
        ("text", "train.parquet", "parquet"),
    ],
)
def test_the_files_tell_their_format(tmp_path: Path, kind: SourceKind, file: str, format_: str) -> None:
    path = tmp_path / "data" / "mine" / file
    path.parent.mkdir(parents=True)
    path.touch()
    spec = parse_pool({"name": "mine", **yaml.safe_load(pool_example(kind, "data/mine", tmp_path))}, "x")
    assert spec.source.format == format_
    assert spec.modality == ("image" if kind == "images" else "text")


def test_the_layout_of_embeddings_is_told_by_its_folders(tmp_path: Path) -> None:
    example = pool_example("embeddings", "data", tmp_path)
    assert yaml.safe_load(example)["source"]["layout"] == "clip_retrieval"
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x.npy").touch()
    assert yaml.safe_load(pool_example("embeddings", "data", tmp_path))["source"]["layout"] == "folder"


def test_odd_paths_stay_what_they_are() -> None:
    for path in ("s3://bucket/a b", "no", "a: b # c", "ünï/ködé", "'"):
        assert yaml.safe_load(pool_example("images", path))["source"]["path"] == path
