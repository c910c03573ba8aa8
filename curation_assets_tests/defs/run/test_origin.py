"""Runs of the command line name their code location, as the UI knows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from curation_assets.defs.run.origin import job_origin, location_name
from curation_assets.project import Home


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    (tmp_path / "home").mkdir()
    (tmp_path / "dagster").mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    return Home(tmp_path / "home", str(tmp_path), tmp_path)


def test_without_a_workspace_the_location_has_its_usual_name(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert location_name(home) == "curation_assets"
    monkeypatch.delenv("DAGSTER_HOME")
    assert location_name(home) == "curation_assets"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (
            "load_from:\n- python_module: {module_name: curation_assets.definitions, location_name: mine}",
            "mine",
        ),
        ("load_from:\n- python_module: curation_assets.definitions", "curation_assets.definitions"),
        ("load_from:\n- grpc_server: {host: h, port: 4000, location_name: far}", "far"),
        (
            (
                "load_from:\n- python_module: {module_name: other, location_name: other}\n"
                "- python_module: {module_name: curation_assets.definitions, location_name: ours}"
            ),
            "ours",
        ),
        ("load_from:\n- grpc_server: {host: h, port: 4000}", "curation_assets"),
        ("load_from: [", "curation_assets"),
        ("load_from: 3", "curation_assets"),
        ("load_from:\n- [a]", "curation_assets"),
        ("", "curation_assets"),
    ],
)
def test_the_name_is_that_of_the_workspace(home: Home, text: str, name: str) -> None:
    (home.folder / "workspace.yaml").write_text(text)
    assert location_name(home) == name


def test_the_project_folder_comes_before_dagster_home(home: Home, tmp_path: Path) -> None:
    (tmp_path / "dagster" / "workspace.yaml").write_text("load_from: [{python_module: {module_name: a}}]")
    assert location_name(home) == "a"
    (home.folder / "workspace.yaml").write_text("load_from: [{python_module: {module_name: b}}]")
    assert location_name(home) == "b"


def test_a_job_is_found_by_location_repository_and_name(home: Home) -> None:
    origin = job_origin(home, "p_curate")
    assert origin.repository_origin.repository_name == "__repository__"
    assert origin.repository_origin.code_location_origin.location_name == "curation_assets"
    assert origin.job_name == "p_curate"
