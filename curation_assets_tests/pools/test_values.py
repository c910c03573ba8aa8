"""Values at and beyond the limits of every key: what no step can work with is refused before any work."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from curation_assets.errors import PoolSpecError
from curation_assets.pools import PoolSpec, load_pool_spec
from curation_assets.pools.base import Settings

POOL: dict[str, Any] = {
    "name": "p",
    "source": {"format": "jsonl", "path": "data/raw/p", "id_field": "id", "label_fields": ["topic"]},
    "encoder": {"kind": "sentence_transformers", "model": "m"},
    "preprocessing": {},
    "deduplication": {},
    "decontamination": {"evaluation_sets": [{"name": "a", "source": {"format": "jsonl", "path": "x"}}]},
    "levels": [{"n_clusters": 12}, {"n_clusters": 4}],
    "targets": [{"name": "small", "size": 20}],
    "tokenizer": "words",
    "probe": {},
    "refit": {},
    "watch": {},
    "dagster": {},
    "engine": {},
    "atlas": {},
}
SWITCHES = {"exact", "semantic", "centring", "source_assets"}


def keys_of(settings: Settings, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every key of the pool that holds a value of its own."""
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, Settings):
            yield from keys_of(value, (*place, name))
        elif isinstance(value, tuple) and value and isinstance(value[0], Settings):
            yield from keys_of(value[0], (*place, name, 0))
        else:
            yield (*place, name)


KEYS = list(keys_of(PoolSpec.model_validate(POOL)))


def problem_of(folder: Path, place: tuple[Any, ...], value: Any) -> str:
    """What loading says of the pool with another value; empty if it is accepted."""
    document = copy.deepcopy(POOL)
    inner: Any = document
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    path = folder / "p.yaml"
    path.write_text(yaml.safe_dump(document))
    try:
        load_pool_spec(path)
    except PoolSpecError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("place", KEYS, ids=lambda place: ".".join(map(str, place)))
def test_no_key_takes_what_no_step_can_work_with(place: tuple[Any, ...], tmp_path: Path) -> None:
    values: list[Any] = [-1, float("nan"), float("inf"), float("-inf")]
    if place[-1] != "description":
        values += ["", "  ", [""]]
    if place[-1] not in SWITCHES:
        values.append(True)
    if place[-1] not in {"new_rows", "cpus_per_worker", "gpus_per_worker", "least_work"} and not str(
        place[-1]
    ).endswith("_seconds"):
        values.append(10**30)
    for value in values:
        problem = problem_of(tmp_path, place, value)
        assert str(place[-1]) in problem, (value, problem)


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        (("source", "label_fields"), ["topic", "topic"], "names 'topic' twice"),
        (("outputs",), ["ids", "parquet", "ids"], "names 'ids' twice"),
        (("fit_device",), "gpu", "choose auto, cpu, cuda, cuda:N or mps, got 'gpu'"),
        (("encoder", "device"), "cuda:-1", "choose auto, cpu"),
        (("targets", 0, "size"), True, "size is true, which is no value of this key"),
        (("seed",), 2**63, "the number is too large: choose at most 9223372036854775807"),
        (("source", "path"), "", "the text is empty: give a value"),
    ],
)
def test_the_message_says_what_is_valid(
    place: tuple[Any, ...], value: Any, says: str, tmp_path: Path
) -> None:
    assert says in problem_of(tmp_path, place, value)


def test_a_seed_may_have_64_bits(tmp_path: Path) -> None:
    assert problem_of(tmp_path, ("seed",), 2**63 - 1) == ""


def test_a_command_may_have_empty_arguments(tmp_path: Path) -> None:
    assert problem_of(tmp_path, ("probe", "command"), ["train", ""]) == ""
