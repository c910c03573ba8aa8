"""`curation-assets validate` refuses what a later step would."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from curation_assets_tests.components.dg_projects import EMBEDDED, make_dg_project
from curation_assets_tests.projects import Project, run_command

POOL: dict[str, Any] = {
    "source": {"format": "jsonl", "path": "raw", "label_fields": ["topic"]},
    "encoder": {"kind": "sentence_transformers", "model": "m"},
    "targets": [{"name": "small", "size": 2}],
}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "raw").mkdir()
    rows = [{"text": f"entry {i}", "topic": "t"} for i in range(5)]
    (tmp_path / "raw" / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Project(tmp_path)


def validate(project: Project, **changes: Any) -> tuple[int, str]:
    path = project.folder / "pools" / "p.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump({**POOL, **changes}))
    code, output = project.run("validate", str(path))
    return code, " ".join(output.split())


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"source": {**POOL["source"], "label_fields": ["topics"]}}, "names 'topics', which none of the first 5"),
        ({"source": {**POOL["source"], "text_field": "body"}}, "no field 'body'"),
        ({"probe": {"labels": {"path": "labels.csv"}}}, "there is no such file"),
        ({"probe": {"labels": {"path": "wrong.csv"}}}, "probe.labels.label_field is 'label'"),
        ({"watch": {"nightly": "61 25 * * *"}}, "the minute '61' of the cron expression makes no sense"),
    ],
)  # fmt: skip
def test_what_a_later_step_would_refuse(project: Project, changes: dict[str, Any], says: str) -> None:
    (project.folder / "wrong.csv").write_text("id,labels\n")
    code, output = validate(project, **changes)
    assert code == 2, output
    assert says in output


def test_a_sound_pool_is_valid(project: Project) -> None:
    (project.folder / "labels.csv").write_text("id,label\na:0,x\n")
    code, output = validate(project, probe={"labels": {"path": "labels.csv"}})
    assert code == 0, output
    assert "valid; 1 files" in output
    assert "1 labelled ids" in output


def test_components_are_validated_by_their_own_file(tmp_path: Path) -> None:
    project = make_dg_project(tmp_path)
    (tmp_path / "data" / "raw" / "web").mkdir(parents=True)
    np.save(tmp_path / "data" / "raw" / "web" / "a.npy", np.ones((40, 4), np.float32))
    pl.DataFrame({"n": range(40)}).write_parquet(tmp_path / "data" / "raw" / "web" / "a.parquet")
    path = project.write("web", EMBEDDED, {**EMBEDDED, "name": "other"})
    environment = {"CURATION_HOME": str(tmp_path), "DAGSTER_HOME": str(tmp_path)}
    code, output = run_command(environment, "validate", str(path))
    assert code == 0, output
    assert output.count("valid; 1 files") == 2
    project.write("web", {**EMBEDDED, "levles": 1})
    code, output = run_command(environment, "validate", str(path))
    assert (code, "unknown key levles" in output) == (2, True)
