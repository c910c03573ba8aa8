"""Reads pool files and explains what is wrong with them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from curation_assets.errors import PoolSpecError
from curation_assets.pools.groups import CHOICES, GROUPS
from curation_assets.pools.spec import PoolSpec


def load_pool_spec(path: Path) -> PoolSpec:
    """Read and check a pool's YAML file. The pool is named after the file unless the file sets a name.

    Raises:
        PoolSpecError: naming the file, the key, its value and what would be valid.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PoolSpecError(f"{path}: no such pool file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise PoolSpecError(f"{path}: cannot read it as YAML: {error}") from error
    if not isinstance(document, dict):
        raise PoolSpecError(f"{path}: expected keys such as source, encoder and targets, got {document!r}")
    try:
        return PoolSpec.model_validate({"name": path.stem, **document})
    except ValidationError as error:
        raise PoolSpecError("\n".join(_explain(path, problem) for problem in _problems(error))) from None


def load_pool_specs(folder: Path) -> dict[str, PoolSpec]:
    """Every pool of a folder (its `*.yaml` files, not those of its subfolders), by name.

    Raises:
        PoolSpecError: if a file is invalid or two pools share a name.
    """
    specs: dict[str, PoolSpec] = {}
    for path in sorted(folder.glob("*.yaml")):
        spec = load_pool_spec(path)
        if spec.name in specs:
            raise PoolSpecError(f"{path}: the pool name '{spec.name}' is taken by another file of {folder}")
        specs[spec.name] = spec
    return specs


def _problems(error: ValidationError) -> list[Any]:
    """Every problem, but not that a list is too short because an entry of it is wrong."""
    found = error.errors()
    places = {problem["loc"][:-depth] for problem in found for depth in range(1, len(problem["loc"]))}
    return [problem for problem in found if problem["type"] != "too_short" or problem["loc"] not in places]


def _explain(path: Path, problem: Any) -> str:
    location, model = _place(problem["loc"])
    key = (
        "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
        or "(file)"
    )
    if problem["type"] == "extra_forbidden":
        valid = ", ".join(model.model_fields)
        return f"{path}: unknown key {key} (value {problem['input']!r}); valid keys are: {valid}"
    if problem["type"] == "missing":
        return f"{path}: {key} is missing"
    value = problem["input"]
    is_group = isinstance(value, dict | tuple | list | BaseModel)
    shown = "" if is_group or "credentials" in problem["msg"] else f", got {value!r}"
    return f"{path}: {key}: {problem['msg'].removeprefix('Value error, ')}{shown}"


def _place(location: Sequence[str | int]) -> tuple[list[str | int], type[BaseModel]]:
    """Where a problem lies in the file, without pydantic's names of union members, and the model of that place."""
    model: type[BaseModel] = PoolSpec
    place: list[str | int] = []
    for previous, part in zip(("", *location), location, strict=False):
        if part in CHOICES.get(str(previous), ()):
            model = CHOICES[str(previous)][str(part)]
            continue
        model = GROUPS.get(str(part), model)
        place.append(part)
    return place, model
