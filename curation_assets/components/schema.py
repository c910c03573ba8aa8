"""The JSON schema of a component's attributes, in the form that lets `dg check yaml` name the wrong key and its line.

Of a union, a validator of JSON can only say that no member fits. So a choice by a key (`format`, `kind`) becomes "if
the key says this, then these settings", and what may be null "unless it is null".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curation_assets.pools.reference import json_schema

_TEMPLATE = {"type": "string", "pattern": r"\{\{|\{%"}
_PLAIN = ("integer", "number", "boolean", "array", "object")


def attributes_schema() -> dict[str, Any]:
    """The schema: that of a pool file, in this form. A template may stand for any value but a group of keys."""
    schema = json_schema()
    del schema["$schema"]
    definitions = schema.pop("$defs")
    schema = _plain(schema, definitions)
    return schema | {"$defs": {name: _plain(entry, definitions) for name, entry in definitions.items()}}


def _plain(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """A schema of keys, each with the form of `_value`."""
    properties = {key: _value(entry, definitions) for key, entry in schema.get("properties", {}).items()}
    return {**schema, "properties": properties} if properties else dict(schema)


def _value(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    schema = {key: value for key, value in schema.items() if key != "discriminator"}
    if "items" in schema:
        schema["items"] = _value(schema["items"], definitions)
    members = schema.pop("anyOf", None) or schema.pop("oneOf", None)
    if members is None:
        return _or_template(schema)
    rest = [member for member in members if member.get("type") != "null"]
    if len(rest) > 1 and (choice := _choice(rest, definitions)):
        wanted = choice
    elif len(rest) == 1:
        wanted = _value(rest[0], definitions)
    else:
        return schema | {"anyOf": [*map(dict, members), _TEMPLATE]}
    return schema | (
        {"if": {"not": {"type": "null"}}, "then": wanted} if len(rest) < len(members) else wanted
    )


def _or_template(schema: dict[str, Any]) -> dict[str, Any]:
    """A value of its own, or a template that becomes one. Texts may be templates anyway."""
    if schema.get("type") not in _PLAIN and "enum" not in schema and "const" not in schema:
        return schema
    about = {key: schema[key] for key in ("description", "default", "examples") if key in schema}
    return about | {
        "if": {"not": _TEMPLATE},
        "then": {key: schema[key] for key in schema if key not in about},
    }


def _choice(members: list[Mapping[str, Any]], definitions: Mapping[str, Any]) -> dict[str, Any] | None:
    """Settings of the kind that a key names; None if the members have no such key."""
    models = {
        member["$ref"]: definitions[member["$ref"].split("/")[-1]] for member in members if "$ref" in member
    }
    if len(models) < len(members):
        return None
    constants = [
        {key for key, value in model["properties"].items() if "const" in value} for model in models.values()
    ]
    told_by = sorted(set.intersection(*constants) - {"modality"})
    if len(told_by) != 1:
        return None
    key = told_by[0]
    values = {ref: model["properties"][key]["const"] for ref, model in models.items()}
    cases = [
        {"if": {"required": [key], "properties": {key: {"const": value}}}, "then": {"$ref": ref}}
        for ref, value in values.items()
    ]
    usual = [ref for ref, model in models.items() if key not in model.get("required", ())]
    without = {"$ref": usual[0]} if usual else {"required": [key]}
    return {
        "type": "object",
        "properties": {key: {"enum": list(values.values())}},
        "allOf": [*cases, {"if": {"not": {"required": [key]}}, "then": without}],
    }
