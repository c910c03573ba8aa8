"""The instance that commands and runs open: with SQLite, events are written in batches (`batched_storage`)."""

from __future__ import annotations

import importlib
import os
import tempfile
from typing import Any

import dagster as dg

from curation_assets.defs.run.databases import (
    BATCH_SIZE_VARIABLE,
    EVENTS_PER_TRANSACTION,
    setting_up,
    wait_when_locked,
)
from curation_assets.defs.run.private_api import without
from curation_assets.errors import CurationError
from curation_assets.project import find_home

_STOCK = "DagsterSqliteStorage"


def stock_storage() -> type[Any]:
    """Dagster's own SQLite storage, wherever this release keeps it."""
    with tempfile.TemporaryDirectory() as folder, dg.DagsterInstance.local_temp(folder) as instance:
        stock = instance.get_ref().storage_data
    if stock is None:
        raise CurationError(f"Dagster {dg.__version__} names no storage of its own: install another release")
    found: type[Any] = getattr(importlib.import_module(stock.module_name), stock.class_name)
    return found


_BatchedEventLog: type[Any] | None = None
BatchedSqliteStorage: type[Any]
try:
    from curation_assets.defs.run import batched_storage
except ImportError as error:
    without("events are written one by one, which takes longer for pools of many shards", error)
    BatchedSqliteStorage = stock_storage()
else:
    _BatchedEventLog = batched_storage.BatchedEventLog
    BatchedSqliteStorage = batched_storage.BatchedSqliteStorage


def most_events_sorted(storage: object) -> int:
    """How many events of a step are stored in the order of their times, as Dagster passes them together."""
    sorts = _BatchedEventLog is not None and isinstance(storage, _BatchedEventLog)
    return int(os.environ.get(BATCH_SIZE_VARIABLE, "0")) if sorts else 0


def in_postgres(storage: object) -> bool:
    """Whether events are stored in PostgreSQL; checked by class name, as dagster-postgres is an extra."""
    return any(base.__name__ == "PostgresEventLogStorage" for base in type(storage).__mro__)


def open_instance() -> dg.DagsterInstance:
    """The instance of DAGSTER_HOME, which writes events in batches; see `batched`.

    Raises:
        CurationError: if the driver of a PostgreSQL storage is not installed.
    """
    wait_when_locked()
    try:
        # Dagster's own class, which is replaced below, makes the tables here.
        with setting_up(find_home().dagster_state):
            instance = dg.DagsterInstance.get()
    except ModuleNotFoundError as error:
        if error.name != "psycopg":
            raise
        # SQLAlchemy 2.1 reads `postgresql://` as psycopg 3; dagster-postgres installs psycopg2.
        raise CurationError(
            "dagster.yaml: `postgresql` needs the package psycopg, which is not installed. Write "
            "`postgresql+psycopg2` instead (in postgres_url or postgres_db.scheme)"
        ) from error
    found = batched(instance)
    if found is not instance:
        instance.dispose()
    return found


def batched(instance: dg.DagsterInstance) -> dg.DagsterInstance:
    """The same instance, or another on the same files that writes SQLite's events in batches."""
    if in_postgres(instance.event_log_storage):
        # PostgreSQL storage writes batches too, if Dagster passes any.
        os.environ.setdefault(BATCH_SIZE_VARIABLE, str(EVENTS_PER_TRANSACTION))
    if not instance.is_persistent or _BatchedEventLog is None:
        return instance
    ref = instance.get_ref()
    stock = ref.storage_data
    if stock is None or stock.class_name != _STOCK:
        return instance
    ours = stock._replace(module_name=__name__, class_name="BatchedSqliteStorage")
    return dg.DagsterInstance.from_ref(ref._replace(storage_data=ours))
