"""A project as anybody may have one: its own IO manager, executor, resource and logger, merged with two pools."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import dagster as dg

from curation_assets.defs.pool_definitions import build_definitions
from curation_assets.pools.in_dagster import DagsterSettings
from curation_assets.release import Release
from curation_assets_tests.projects import Project

USED: list[str] = []
"""What of theirs was used, in order."""


class Shelf(dg.IOManager):
    """Keeps values by key; those of a pool are none of its business."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        USED.append(f"io_manager: {context.asset_key.to_user_string()}")
        self.values[context.asset_key.to_user_string()] = obj

    def load_input(self, context: dg.InputContext) -> Any:
        return self.values[context.asset_key.to_user_string()]


SHELF = Shelf()


@dg.executor(name="theirs", config_schema={"retries": dg.Field(dict, default_value={"enabled": {}})})
def their_executor(init_context: dg.InitExecutorContext) -> Any:
    USED.append("executor")
    return dg.in_process_executor.executor_creation_fn(init_context)  # type: ignore[misc]


@dg.logger
def their_logger(init_context: dg.InitLoggerContext) -> logging.Logger:
    return logging.getLogger("theirs")


class Database(dg.ConfigurableResource):  # type: ignore[type-arg]
    name: str


@dg.asset
def words(database: Database) -> list[str]:
    return [database.name]


@dg.asset(ins={"release": dg.AssetIn(key=["ml", "emoji", "dataset_release"])})
def training(release: Release, words: list[str]) -> dict[str, Any]:
    rows = release.scan("small").select("sample_id", "level_1").collect()
    return {"rows": rows, "path": release["small"].path, "targets": list(release.targets), "words": words}


def prefixed(project: Project, name: str) -> Any:
    """The project's pool, by another name or by its own, below a prefix."""
    shown = DagsterSettings(
        key_prefix=("ml",), group_name="curation", owners=("team:data",), tags={"a": "b"}, source_assets=True
    )
    return project.spec.model_copy(update={"name": name, "dagster": shown})


def theirs() -> dg.Definitions:
    return dg.Definitions(
        assets=[words, training],
        jobs=[dg.define_asset_job("their_job", [words, training])],
        resources={
            "io_manager": SHELF,
            "database": Database(name="theirs"),
            "curation": "a name that we had",
        },
        executor=their_executor,
        loggers={"console": their_logger},
    )


def merged(project: Project, second: Project | None = None) -> dg.Definitions:
    """Their project with the pool of one project, and with a second pool from another call."""
    other = second or project
    pools: Iterable[dg.Definitions] = (
        build_definitions([prefixed(project, "emoji")], project.home),
        build_definitions([prefixed(other, "other")], other.home),
    )
    return dg.Definitions.merge(theirs(), *pools)


def job_of(folder: str, name: str) -> dg.JobDefinition:
    """A job of the merged project, as a run's process finds it."""
    return merged(Project(Path(folder))).resolve_job_def(name)
