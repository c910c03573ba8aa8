"""The pools that components of a Dagster project declare, read from their YAML without Dagster."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curation_assets.errors import PoolSpecError
from curation_assets.pools.loading import parse_pool
from curation_assets.pools.projects.templates import render_environment, with_templates
from curation_assets.pools.projects.toml_files import read_toml
from curation_assets.pools.spec import PoolSpec
from curation_assets.pools.yaml_files import read_documents

COMPONENT = "curation_assets.CurationPool"
"""The type of a pool in a `defs.yaml`."""
COMPONENT_NAMES = ("defs.yaml", "defs.yml")
"""Names of the files of components."""


@dataclass(frozen=True, slots=True)
class ComponentPool:
    """A pool that a component declares."""

    path: Path
    name: str
    """The pool's name in the file, or else that of its folder."""
    loaded: PoolSpec | str
    """The pool, or what is wrong with it."""
    is_for_dagster: bool = False
    """Whether only Dagster can read it: it has a template that reads more than the environment."""


def component_files(project: Path) -> list[Path]:
    """The files of a Dagster project that declare pools.

    They lie in its folder of definitions, which `pyproject.toml` or `dg.toml` names.
    """
    folder = _defs_folder(project)
    if folder is None:
        return []
    found = [path for name in COMPONENT_NAMES for path in folder.rglob(name) if path.is_file()]
    return sorted(path for path in found if _may_declare(path))


def _may_declare(path: Path) -> bool:
    try:
        return COMPONENT.encode() in path.read_bytes()
    except OSError:
        # Whoever reads it as a pool says what is wrong.
        return True


def read_component_file(path: Path) -> list[ComponentPool]:
    """The pools of a `defs.yaml`, one for each of its documents that declares one."""
    try:
        documents = read_documents(path)
    except PoolSpecError as error:
        return [ComponentPool(path, path.parent.name, str(error))]
    return [
        _read(path, document.get("attributes") or {})
        for document in documents
        if isinstance(document, dict) and document.get("type") == COMPONENT
    ]


def _read(path: Path, attributes: Any) -> ComponentPool:
    if not isinstance(attributes, dict):
        return ComponentPool(path, path.parent.name, f"{path}: attributes are no keys with values")
    name = attributes.get("name", path.parent.name)
    name = name if isinstance(name, str) else path.parent.name
    try:
        values = with_templates(attributes, render_environment)
    except PoolSpecError as error:
        return ComponentPool(path, name, f"{path}: {error}", is_for_dagster=True)
    try:
        spec = parse_pool({"name": path.parent.name, **values}, str(path))
    except PoolSpecError as error:
        return ComponentPool(path, name, str(error))
    return ComponentPool(path, spec.name, spec)


def _defs_folder(project: Path) -> Path | None:
    """The folder of a project's definitions, as Dagster finds it; None if the folder is no project of `dg`."""
    settings = read_toml(project / "dg.toml", "project") or read_toml(
        project / "pyproject.toml", "tool", "dg", "project"
    )
    root, module = settings.get("root_module"), settings.get("defs_module")
    if not root and not module:
        return None
    below = [project / base / Path(*str(module or f"{root}.defs").split(".")) for base in ("src", ".")]
    return next((folder for folder in below if folder.is_dir()), None)
