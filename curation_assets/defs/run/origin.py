"""Where the UI finds the job of a run: the code location, which runs of the command line name too.

Without it a run is missing from the timeline and from the history of its job.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from curation_assets.defs.run.private_api import without
from curation_assets.project import DAGSTER_HOME_VARIABLE, Home

try:
    # Private: Dagster exports nothing to name a code location with. The tests of this module ask its GraphQL server.
    from dagster._core.remote_origin import (
        RegisteredCodeLocationOrigin,
        RemoteJobOrigin,
        RemoteRepositoryOrigin,
    )
except ImportError as error:
    without("runs of the command line are missing from the timeline and from the history of their job", error)
    RemoteJobOrigin = None  # type: ignore[assignment, misc]

Origin: TypeAlias = Any
"""A `RemoteJobOrigin`: where the UI finds a job."""
WORKSPACE = "workspace.yaml"
DEFINITIONS = "curation_assets.definitions"
_REPOSITORY = "__repository__"
"""Name that Dagster gives to the definitions of a module."""


def job_origin(home: Home, job: str) -> Origin | None:
    """Where the UI finds a job of this project; None if this release of Dagster cannot be told."""
    if RemoteJobOrigin is None:
        return None
    location = RegisteredCodeLocationOrigin(location_name(home))
    return RemoteJobOrigin(RemoteRepositoryOrigin(location, _REPOSITORY), job)


def origin_beside(origin: Origin, job: str) -> Origin:
    """Where the UI finds another job of the same code location."""
    return type(origin)(origin.repository_origin, job)


def location_name(home: Home) -> str:
    """Name of the code location: of our definitions in the first of the project's workspaces, or else its first.

    Without a workspace, `dg` names the location of a project by its pyproject.toml or dg.toml.
    """
    *theirs, ours = _workspaces(home)
    found = next(filter(None, map(_locations, theirs)), None)
    if found is None and (name := _name_by_dg(home.folder)):
        return name
    found = found or _locations(ours)
    return next((name for name, module in found if module == DEFINITIONS), found[0][0])


def workspace_file(home: Home) -> Path:
    """The workspace.yaml of the project folder or of DAGSTER_HOME, or else our own."""
    return next(path for path in _workspaces(home) if path.exists())


def _workspaces(home: Home) -> list[Path]:
    dagster_home = Path(os.environ.get(DAGSTER_HOME_VARIABLE) or home.folder)
    return [home.folder / WORKSPACE, dagster_home / WORKSPACE, Path(__file__).with_name(WORKSPACE)]


def _name_by_dg(project: Path) -> str | None:
    """The name that `dg` gives to the location of a project; None if the folder is none of its projects."""
    for file, place in (("dg.toml", ()), ("pyproject.toml", ("tool", "dg"))):
        try:
            settings = tomllib.loads((project / file).read_text(encoding="utf-8"))
            for key in place:
                settings = settings[key]
            if settings["directory_type"] == "project":
                return str(settings["project"].get("code_location_name") or project.resolve().name)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return None


def _locations(path: Path) -> list[tuple[str, str]]:
    """Name and module of each code location of a file; none if it cannot be read, which Dagster reports itself."""
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))["load_from"]
        return [found for entry in entries if (found := _name_and_module(entry))]
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError):
        return []


def _name_and_module(entry: dict[str, Any]) -> tuple[str, str] | None:
    [(_, target)] = entry.items()
    if isinstance(target, str):
        return target, target
    module = str(target.get("module_name", ""))
    name = target.get("location_name") or module
    return (str(name), module) if name else None
