"""The reference of all keys of a pool file, and its JSON schema, both made from the settings' own descriptions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from curation_assets.pools.base import Settings
from curation_assets.pools.groups import CHOICES, GROUPS
from curation_assets.pools.spec import PoolSpec

_LISTS = {"evaluation_sets", "levels", "targets"}
_INTRODUCTION = """\
# All keys of a pool file

<!-- Written by `curation-assets schema --markdown`. Edit the descriptions in curation_assets/pools/ instead. -->

A pool is one YAML file in `pools/`. Three keys are required: `source`, `targets` and `encoder` (which a source of
embeddings does not have). Every other key has a default. Unknown keys, and keys that are written twice, are refused.

Every file `pools/*.yaml` is a pool. Other names are ignored: those that begin with a dot or do not end in `.yaml` (an
editor's lock, swap file or backup, `._web.yaml` of macOS), and subfolders such as `pools/examples/`. A folder that ends
in `.yaml`, and a file that ends in `.yml` or `.YAML`, are ignored too; `curation-assets status` says so.

A file that is wrong is the problem of its own pool. All others load and run. `curation-assets status` lists what is
wrong. A command that names the pool ends with it. The UI shows the pool as one asset, `broken_pool`, whose description,
check and materialization say it. Two files may not have the same name of a pool. The one that is named after the pool
keeps it. If there is none, both are broken.

The same keys are the attributes of the component `curation_assets.CurationPool` in a Dagster project
([how](in_your_own_dagster_project.md)).

`curation-assets validate FILE` checks a file. To check it while you type, write the schema beside it with
`curation-assets schema > pools/pool.schema.json`, and let the first line of the file name it:

    # yaml-language-server: $schema=pool.schema.json
"""
_HEADER = "| key | value | default | meaning | example |\n|---|---|---|---|---|"


def json_schema() -> dict[str, Any]:
    """The JSON schema of a pool file, for editors."""
    schema: dict[str, Any] = _without_titles(PoolSpec.model_json_schema())
    schema["title"] = "A pool of curation_assets"
    schema["required"].remove("name")  # the file's name is the default
    refit = schema["properties"]["refit"]
    refit["anyOf"] = [{"$ref": refit.pop("$ref")}, {"const": "never"}]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def markdown_reference() -> str:
    """The reference of all keys: one table per group, with type, default, meaning and an example of each key."""
    definitions = json_schema()
    parts = [_INTRODUCTION, *_section("The pool", PoolSpec, definitions)]
    for name, choice in CHOICES.items():
        key = "format" if name == "source" else "kind"
        rows = {value: _rows(model, definitions) for value, model in choice.items()}
        every = [row for row in next(iter(rows.values())) if all(row in other for other in rows.values())]
        parts += [f"## `{name}`\n", _table(every)]
        for value, model in choice.items():
            own = [row for row in rows[value] if row not in every]
            parts += [f"### {key}: {value}\n\n{_docstring(model)}\n"]
            parts.append(_table(sorted(own, key=lambda row: not row.startswith(f"| `{key}`"))))
    for name, model in GROUPS.items():
        title = f"`{name}`, a list" if name in _LISTS else f"`{name}`"
        parts += _section(title, model, definitions)
    return "\n".join(parts)


def _section(title: str, model: type[Settings], definitions: Mapping[str, Any]) -> list[str]:
    return [f"## {title}\n", f"{_docstring(model)}\n", _table(_rows(model, definitions))]


def _docstring(model: type[Settings]) -> str:
    return " ".join((model.__doc__ or "").split())


def _table(rows: Sequence[str]) -> str:
    return "\n".join([_HEADER, *rows, ""])


def _rows(model: type[Settings], definitions: Mapping[str, Any]) -> list[str]:
    """One row of a table for each key of a group."""
    schema = definitions if model is PoolSpec else definitions["$defs"][model.__name__]
    rows = []
    for key, field in model.model_fields.items():
        if key == "name" and model is PoolSpec:
            default = "name of the file"
        elif field.is_required():
            default = "required"
        else:
            default = _default(field.default)
        first = {key: field.examples[0] if field.examples else None}
        example = yaml.safe_dump(first, default_flow_style=True, sort_keys=False, width=10**6)
        example = example.strip().removeprefix("{").removesuffix("}")
        cells = [f"`{key}`", " or ".join(_types(schema["properties"][key])), default, field.description or ""]
        rows.append(f"| {' | '.join(cells)} | `{example}` |")
    return rows


def _default(value: Any) -> str:
    if isinstance(value, Settings):
        return "the defaults below"
    if isinstance(value, tuple) and value:
        return f"{len(value)} with the defaults below"
    if value == "":
        return "empty"
    text = f"{value:g}" if isinstance(value, float) else json.dumps(value).strip('"')
    return f"`{text}`"


def _types(schema: Mapping[str, Any]) -> Iterator[str]:
    """What a key may be set to, in words."""
    if "anyOf" in schema:
        for option in schema["anyOf"]:
            yield from _types(option)
    elif "enum" in schema:
        yield from (f"`{value}`" for value in schema["enum"])
    elif "const" in schema:
        yield f"`{schema['const']}`"
    elif "$ref" in schema or "oneOf" in schema or "discriminator" in schema:
        yield "group of keys"
    elif schema["type"] == "array":
        yield "list of " + " / ".join(_types(schema["items"])).replace("group", "groups")
    else:
        names = {"string": "text", "boolean": "`true` or `false`", "null": "`null`"}
        yield names.get(schema["type"], schema["type"]) + _range(schema)


def _range(schema: Mapping[str, Any]) -> str:
    least = "exclusiveMinimum" if "exclusiveMinimum" in schema else "minimum"
    bounds = []
    if schema["type"] == "integer" and schema.get("exclusiveMinimum") == 0:
        bounds.append("1 or more")
    elif least in schema:
        bounds.append(f"{'above' if least == 'exclusiveMinimum' else 'at least'} {schema[least]:,.12g}")
    if "exclusiveMaximum" in schema:
        bounds.append(f"below {schema['exclusiveMaximum']:,.12g}")
    if "maximum" in schema:
        bounds.append(f"at most {schema['maximum']:,.12g}")
    return f" ({', '.join(bounds)})" if bounds else ""


def _without_titles(schema: Any) -> Any:
    """A schema without the titles that pydantic makes of the keys."""
    if isinstance(schema, dict):
        return {
            key: _without_titles(value)
            for key, value in schema.items()
            if key != "title" or not isinstance(value, str)
        }
    return [_without_titles(value) for value in schema] if isinstance(schema, list) else schema
