"""Runs of the command line name their code location, as the UI knows it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from curation_assets.defs.run.origin import job_origin, location_name
from curation_assets.defs.run.wave_runner import WaveRunner
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


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('[tool.dg]\ndirectory_type = "project"\n[tool.dg.project]\nroot_module = "a"', "home"),
        ('[tool.dg]\ndirectory_type = "project"\n[tool.dg.project]\ncode_location_name = "theirs"', "theirs"),
        ('[tool.dg]\ndirectory_type = "workspace"', "curation_assets"),
        ("[tool.dg]\ndirectory_type = 1", "curation_assets"),
        ("[project]", "curation_assets"),
        ("[", "curation_assets"),
    ],
)
def test_without_a_workspace_dg_names_the_location_of_its_project(home: Home, text: str, name: str) -> None:
    (home.folder / "pyproject.toml").write_text(text)
    assert location_name(home) == name


def test_the_settings_of_dg_may_have_a_file_of_their_own(home: Home) -> None:
    (home.folder / "dg.toml").write_text(
        'directory_type = "project"\n[project]\ncode_location_name = "theirs"'
    )
    (home.folder / "pyproject.toml").write_text("[project]")
    assert location_name(home) == "theirs"


def test_waves_belong_to_the_location_of_their_parent(home: Home) -> None:
    (home.folder / "workspace.yaml").write_text("load_from: [{python_module: {module_name: theirs}}]")
    parent = SimpleNamespace(remote_job_origin=job_origin(home, "p_curate"))
    (home.folder / "workspace.yaml").unlink()
    runner: Any = SimpleNamespace(parent=parent, driver=SimpleNamespace(home=home))
    wave = WaveRunner._origin(runner, "__ASSET_JOB")
    assert wave is not None
    assert (wave.location_name, wave.job_name) == ("theirs", "__ASSET_JOB")
    runner.parent = SimpleNamespace(remote_job_origin=None)
    assert WaveRunner._origin(runner, "__ASSET_JOB") == job_origin(home, "__ASSET_JOB")


def test_a_job_is_found_by_location_repository_and_name(home: Home) -> None:
    origin = job_origin(home, "p_curate")
    assert origin.repository_origin.repository_name == "__repository__"
    assert origin.repository_origin.code_location_origin.location_name == "curation_assets"
    assert origin.job_name == "p_curate"
