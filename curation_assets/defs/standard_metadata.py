"""Metadata of assets under the keys that Dagster itself knows: where an asset lies, its columns, its code."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg

from curation_assets.defs.keys import asset_key
from curation_assets.graph.base import Step
from curation_assets.pools import PoolSpec
from curation_assets.project import Home
from curation_assets.steps.registry import code_of
from curation_assets.storage import tables
from curation_assets.storage.files import Table
from curation_assets.storage.outputs import Output

_NOT_BY_NAME = {"assign": tables.Assigned, "resampled": tables.Resampled}
"""Kinds of steps with an asset for each level -> what each stores."""


def standard_metadata(spec: PoolSpec, home: Home, step: Step) -> dict[str, Any]:
    """What is known of an asset before it is made.

    `dagster/uri` is its folder. An asset that stores a table has `dagster/table_name`, which no other asset has, and
    `dagster/column_schema`: of its first table, if it stores several.
    """
    found: dict[str, Any] = {
        "dagster/uri": f"{uri_of(home.storage_root)}/{spec.name}/{step.name}",
        "dagster/code_references": _code_references(spec, home, step),
    }
    if columns := dict(_columns(spec, step)):
        found["dagster/table_name"] = ".".join(asset_key(spec, step.name).path)
        found["dagster/column_schema"] = dg.TableSchema(
            columns=[dg.TableColumn(name, kind) for name, kind in columns.items()]
        )
    return found


def uri_of(location: str, home: Path = Path()) -> str:
    """A folder or URI as a URI, without opening it: its client may not be installed here.

    Args:
        location: as settings name it.
        home: where a relative folder counts from.
    """
    return location.rstrip("/") if "://" in location else (home / location).absolute().as_uri()


def _columns(spec: PoolSpec, step: Step) -> Iterator[tuple[str, str]]:
    """Name and type of each column of the step's first table."""
    table = next((table for kind, table in _first_tables() if kind == step.kind), None)
    if table is None:
        return
    for name, dtype in table.schema.items():
        yield name, str(dtype)
    if step.kind == tables.RawPool.asset:
        for field in spec.source.label_fields:
            yield f"{tables.LABEL_PREFIX}{field}", "String"


def _first_tables() -> Iterator[tuple[str, Table]]:
    named: list[tuple[str, type[Output]]] = [
        (kind.asset, kind) for kind in vars(tables).values() if _is_named(kind)
    ]
    for name, kind in (*named, *_NOT_BY_NAME.items()):
        if (
            table := next((value for value in vars(kind).values() if isinstance(value, Table)), None)
        ) is not None:
            yield name, table


def _is_named(value: Any) -> bool:
    return (
        isinstance(value, type) and issubclass(value, tables.AssetOutput) and value is not tables.AssetOutput
    )


def _code_references(spec: PoolSpec, home: Home, step: Step) -> dg.CodeReferencesMetadataValue:
    """The function that makes the step, and the pool's file if there is one of its name."""
    make = inspect.unwrap(code_of(step).make)
    sources = [
        dg.LocalFileCodeReference(
            file_path=inspect.getfile(make),
            line_number=make.__code__.co_firstlineno,
            label=f"code of {step.kind}",
        )
    ]
    settings = home.pools_folder / f"{spec.name}.yaml"
    if settings.exists():
        sources.append(dg.LocalFileCodeReference(file_path=str(settings), label=f"settings of {spec.name}"))
    return dg.CodeReferencesMetadataValue(code_references=sources)
