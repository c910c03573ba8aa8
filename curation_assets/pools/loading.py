"""Reads a pool file and explains what is wrong with them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from curation_assets.errors import PoolSpecError
from curation_assets.pools.groups import CHOICES, GROUPS
from curation_assets.pools.secrets import HIDDEN, is_secret_name, redacted, shown
from curation_assets.pools.spec import PoolSpec
from curation_assets.pools.yaml_files import read_mapping


def load_pool_spec(path: Path) -> PoolSpec:
    """Read and check a pool's YAML file. The pool is named after the file unless the file sets a name.

    Raises:
        PoolSpecError: naming the file, the key, its value and what would be valid.
    """
    document = read_mapping(path)
    try:
        return PoolSpec.model_validate({"name": path.stem, **document})
    except ValidationError as error:
        raise PoolSpecError("\n".join(_explain(path, problem) for problem in _problems(error))) from None


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
        hidden = HIDDEN if is_secret_name(str(location[-1])) else repr(shown(problem["input"]))
        return f"{path}: unknown key {key} (value {hidden}); valid keys are: {valid}"
    if problem["type"] == "missing":
        return f"{path}: {key} is missing"
    value = problem["input"]
    is_group = isinstance(value, dict | tuple | list | BaseModel)
    got = "" if is_group or "credentials" in problem["msg"] else f", got {shown(value)!r}"
    return f"{path}: {key}: {redacted(problem['msg'].removeprefix('Value error, '))}{got}"


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
