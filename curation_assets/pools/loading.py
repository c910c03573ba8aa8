"""Reads a pool file and explains what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
    return parse_pool({"name": path.stem, **document}, str(path))


def parse_pool(values: Mapping[Any, Any], where: str) -> PoolSpec:
    """Check the settings of a pool.

    Args:
        values: its keys and values, the name among them.
        where: what the messages begin with, the file.

    Raises:
        PoolSpecError: naming `where`, the key, its value and what would be valid.
    """
    try:
        return PoolSpec.model_validate(values)
    except ValidationError as error:
        raise PoolSpecError(
            "\n".join(f"{where}: {problem.words}" for problem in problems_of(error))
        ) from None


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with the settings of a pool."""

    place: tuple[str | int, ...]
    """Keys and indices that lead to it."""
    words: str
    """Names the key, its value and what would be valid. Holds no secret."""


def problems_of(error: ValidationError) -> list[Problem]:
    """Every problem, but not that a list is too short because an entry of it is wrong."""
    found = error.errors()
    places = {problem["loc"][:-depth] for problem in found for depth in range(1, len(problem["loc"]))}
    return [
        _explain(problem)
        for problem in found
        if problem["type"] != "too_short" or problem["loc"] not in places
    ]


def _explain(problem: Any) -> Problem:
    location, model = _place(problem["loc"])
    key = (
        "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
        or "(file)"
    )
    place = tuple(location)
    if problem["type"] == "extra_forbidden":
        valid = ", ".join(model.model_fields)
        hidden = HIDDEN if is_secret_name(str(location[-1])) else repr(shown(problem["input"]))
        return Problem(place, f"unknown key {key} (value {hidden}); valid keys are: {valid}")
    if problem["type"] == "missing":
        return Problem(place, f"{key} is missing")
    value = problem["input"]
    is_group = isinstance(value, dict | tuple | list | BaseModel)
    got = "" if is_group or "credentials" in problem["msg"] else f", got {shown(value)!r}"
    return Problem(place, f"{key}: {redacted(problem['msg'].removeprefix('Value error, '))}{got}")


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
