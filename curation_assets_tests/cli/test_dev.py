"""`curation-assets dev` opens the code location that runs of the command line name, whether or not a project has a
workspace of its own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from dagster._core.workspace.load_target import WorkspaceFileTarget

from curation_assets.cli.dev import open_ui
from curation_assets.defs.run.origin import location_name
from curation_assets.project import find_home
from curation_assets_tests.projects import environment_of

OWN = "load_from: [{python_module: {module_name: mine.definitions, location_name: mine}}]"


@pytest.mark.parametrize(
    ("where", "name"), [(None, "curation_assets"), ("project", "mine"), ("dagster", "mine")]
)
def test_the_ui_has_the_location_that_runs_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str | None, name: str
) -> None:
    started: list[Any] = []
    monkeypatch.setattr(subprocess, "Popen", lambda command, **_: started.append(command))
    monkeypatch.setattr(os, "execve", lambda program, command, environment: started.append(command))
    for folder in ("project", "dagster"):
        (tmp_path / folder).mkdir()
    if where:
        (tmp_path / where / "workspace.yaml").write_text(OWN)
    variables = {
        "CURATION_HOME": str(tmp_path / "project"),
        "CURATION_STATE": str(tmp_path / "state"),
        "DAGSTER_HOME": str(tmp_path / "dagster"),
    }
    with environment_of(variables):
        open_ui(3456)
        reports, ui = started
        assert reports[-2:] == ["serve", "--with-parent"]
        assert ui[-4:] == ["--host", "127.0.0.1", "--port", "3456"]
        opened = WorkspaceFileTarget(paths=[ui[ui.index("--workspace") + 1]]).create_origins()
        assert [origin.location_name for origin in opened] == [name] == [location_name(find_home())]
