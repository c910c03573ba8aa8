"""The reference of all keys and the JSON schema: complete, current, and true to what the settings accept."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from curation_assets.cli.main import cli
from curation_assets.pools import PoolSpec
from curation_assets.pools.groups import CHOICES, GROUPS
from curation_assets.pools.reference import json_schema, markdown_reference

REPOSITORY = Path(__file__).parent.parent.parent
POOL_FILES = [*REPOSITORY.glob("pools/*.yaml"), *REPOSITORY.glob("pools/examples/*.yaml")]
MODELS = [PoolSpec, *GROUPS.values(), *(model for choice in CHOICES.values() for model in choice.values())]
FIELDS = [
    pytest.param(model, key, field, id=f"{model.__name__}.{key}")
    for model in MODELS
    for key, field in model.model_fields.items()
]
TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float),
    "null": type(None),
}  # fmt: skip


def problems(value: Any, schema: Any, root: Any) -> Iterator[str]:
    """What a JSON schema refuses in a value, by the keywords that the schema of a pool uses."""
    if "$ref" in schema:
        yield from problems(value, root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    for choice, most in (("anyOf", 9), ("oneOf", 1)):
        if choice in schema:
            fits = [not any(problems(value, option, root)) for option in schema[choice]]
            if not 1 <= sum(fits) <= most:
                yield f"{value!r} fits {sum(fits)} of {choice}"
    if "type" in schema:
        is_bool = isinstance(value, bool) and schema["type"] != "boolean"
        if is_bool or not isinstance(value, TYPES[schema["type"]]):
            yield f"{value!r} is not of type {schema['type']}"
            return
    if "const" in schema and value != schema["const"]:
        yield f"{value!r} is not {schema['const']!r}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{value!r} is not one of {schema['enum']}"
    if "pattern" in schema and not re.search(schema["pattern"], value):
        yield f"{value!r} does not match {schema['pattern']}"
    for keyword, holds in (
        ("minimum", lambda a, b: a >= b), ("exclusiveMinimum", lambda a, b: a > b),
        ("maximum", lambda a, b: a <= b), ("exclusiveMaximum", lambda a, b: a < b),
        ("minItems", lambda a, b: len(a) >= b),
    ):  # fmt: skip
        if keyword in schema and not holds(value, schema[keyword]):
            yield f"{value!r} violates {keyword} {schema[keyword]}"
    if isinstance(value, list) and "items" in schema:
        for entry in value:
            yield from problems(entry, schema["items"], root)
    if isinstance(value, dict) and "properties" in schema:
        yield from (f"{key} is missing" for key in schema.get("required", ()) if key not in value)
        for key, entry in value.items():
            if key in schema["properties"]:
                yield from problems(entry, schema["properties"][key], root)
            elif schema.get("additionalProperties") is False:
                yield f"unknown key {key}"


@pytest.mark.parametrize(("model", "key", "field"), FIELDS)
def test_every_setting_has_a_description_and_a_valid_example(model: Any, key: str, field: Any) -> None:
    assert re.fullmatch(r"[A-Z`].*\.", field.description)
    (example,) = field.examples
    schema = json_schema()
    group = schema if model is PoolSpec else schema["$defs"][model.__name__]
    assert list(problems(example, group["properties"][key], schema)) == []


def test_the_reference_and_the_schema_in_docs_are_current() -> None:
    remedy = "run `make reference`"
    assert (REPOSITORY / "docs/pool_reference.md").read_text() == markdown_reference().rstrip() + "\n", remedy
    assert json.loads((REPOSITORY / "docs/pool.schema.json").read_text()) == json_schema(), remedy


def test_the_reference_names_every_key() -> None:
    rows = [line for line in markdown_reference().splitlines() if line.startswith("| `")]
    assert all(len(line.split(" | ")) == 5 for line in rows)
    named = {line.split("`")[1] for line in rows}
    assert named == {key for model in MODELS for key in model.model_fields}


def test_every_group_of_keys_is_known() -> None:
    assert {model.__name__ for model in MODELS} == {"PoolSpec", *json_schema()["$defs"]}


def test_the_command_prints_both() -> None:
    printed = CliRunner().invoke(cli, ["schema"])
    assert json.loads(printed.output) == json_schema()
    printed = CliRunner().invoke(cli, ["schema", "--markdown"])
    assert printed.output == markdown_reference().rstrip() + "\n"


@pytest.mark.parametrize("path", POOL_FILES, ids=lambda path: path.stem)
def test_pool_files_name_the_schema_and_are_valid_by_it(path: Path) -> None:
    text = path.read_text()
    named = re.match(r"# yaml-language-server: \$schema=(\S+)\n", text)
    assert named
    assert (path.parent / named[1]).resolve() == REPOSITORY / "docs/pool.schema.json"
    # YAML 1.2, which editors read, takes 1_000 for text.
    assert not re.search(r": \d+_\d", text)
    schema = json_schema()
    assert list(problems(yaml.safe_load(text), schema, schema)) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("colour",), 1),
        (("levels", 0, "n_clusters"), 0),
        (("levels",), []),
        (("encoder", "kind"), "magic"),
        (("source", "format"), "csv"),
        (("targets", 0, "name"), "Bad Name"),
        (("memory_budget",), 1000),
        (("refit",), "always"),
        (("deduplication",), {"threshold": 1.5}),
        (("preprocessing",), {"centring": 1}),
    ],
)
def test_the_schema_refuses_what_the_settings_refuse(path: tuple[Any, ...], value: Any) -> None:
    document = yaml.safe_load((REPOSITORY / "pools/emoji.yaml").read_text())
    schema = json_schema()
    assert list(problems(document, schema, schema)) == []
    changed = copy.deepcopy(document)
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert list(problems(changed, schema, schema))


@pytest.mark.parametrize("value", ["never", {"new_rows": 0.5, "schedule": None}])
def test_the_schema_knows_what_may_be_written_in_two_ways(value: Any) -> None:
    schema = json_schema()
    document = {"source": {"path": "x"}, "targets": [{"name": "small", "size": 5}], "refit": value}
    for budget in ("2 GB", 2_000_000_000):
        assert list(problems(document | {"memory_budget": budget}, schema, schema)) == []
