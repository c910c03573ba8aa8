"""Dagster's SQLite storage, writing the events of a range of partitions in one transaction.

Stock SQLite storage takes 12 to 27 ms an event (a new engine and a commit for each, twice), which for ten assets of
1,000 shards is most of the time a run takes. Files and tables are the stock ones: either class opens what the other
wrote.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

import dagster as dg
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log.base import EventLogStorage
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData

from curation_assets.errors import CurationError

_BATCH_SIZE = "DAGSTER_EVENT_BATCH_SIZE"
_EVENTS_PER_TRANSACTION = 1000
_ASSET_EVENTS = {
    dg.DagsterEventType.ASSET_MATERIALIZATION,
    dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
    dg.DagsterEventType.ASSET_OBSERVATION,
}


class BatchedEventLog(SqliteEventLogStorage):
    """Stores the events that Dagster hands over together in one transaction per database, not two each.

    Dagster hands over the events of the partitions of a step, and those that announce them when a run is created.
    A process killed before that loses what it announces; the facts beside the outputs say what was made.

    Args:
        base_dir: folder of the databases.
        inst_data: Dagster's.
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        # First, as Dagster's constructor asks for tables.
        self._tables_seen: set[str] = set()
        super().__init__(base_dir, inst_data)

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store events in the database of their run, and those of assets in the index of all runs too."""
        of_assets = [event for event in events if event.dagster_event_type in _ASSET_EVENTS]
        by_run: dict[str, list[EventLogEntry]] = {}
        for event in of_assets:
            by_run.setdefault(event.run_id, []).append(event)
        for run_id, of_run in by_run.items():
            self._store_asset_events(run_id, of_run)
        for event in events:
            if event.dagster_event_type not in _ASSET_EVENTS:
                self.store_event(event)

    def _store_asset_events(self, run_id: str, events: Sequence[EventLogEntry]) -> None:
        insert = SqlEventLogStorageTable.insert()
        rows = [self._event_to_row(event) for event in events]
        with self.run_connection(run_id) as connection:
            connection.execute(insert, rows)
        with self.index_transaction() as connection:
            # One by one for their ids, by a statement that is compiled once.
            ids = [connection.execute(insert, row).lastrowid for row in rows]
            self._store_asset_event_tags(connection, events, ids)
            # An asset's entry holds its last event of a type: those before it would be overwritten.
            last = {
                (event.get_dagster_event().asset_key, event.dagster_event_type): (event, event_id)
                for event, event_id in zip(events, ids, strict=True)
            }
            for event, event_id in last.values():
                self._store_asset_event(connection, event, event_id)

    def has_table(self, table_name: str) -> bool:
        """Whether a table exists; asked before every query, and none is ever dropped."""
        if table_name not in self._tables_seen and super().has_table(table_name):
            self._tables_seen.add(table_name)
        return table_name in self._tables_seen


class BatchedSqliteStorage(DagsterSqliteStorage):
    """Dagster's SQLite storage with a `BatchedEventLog`: `storage.custom` of dagster.yaml.

    Args:
        base_dir: folder of the databases.
        inst_data: Dagster's.
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(base_dir, inst_data)
        self._event_log_storage = BatchedEventLog(os.path.join(base_dir, "history", "runs", ""))  # noqa: PTH118
        # Dagster hands over batches only where this is set, which says nothing of the storage's ability.
        os.environ.setdefault(_BATCH_SIZE, str(_EVENTS_PER_TRANSACTION))

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> BatchedSqliteStorage:
        """See `ConfigurableClass`."""
        return cls.from_local(inst_data=inst_data, **config_value)


def in_postgres(storage: EventLogStorage) -> TypeGuard[SqlEventLogStorage]:
    """Whether events are stored in PostgreSQL; asked by name, as dagster-postgres is an extra."""
    return any(base.__name__ == "PostgresEventLogStorage" for base in type(storage).__mro__)


def open_instance() -> dg.DagsterInstance:
    """The instance of DAGSTER_HOME; stock SQLite storage, configured or by default, is opened as a batched one.

    Raises:
        CurationError: if SQLAlchemy lacks the driver that the URL of a PostgreSQL storage asks for.
    """
    try:
        instance = dg.DagsterInstance.get()
    except ModuleNotFoundError as error:
        if error.name != "psycopg":
            raise
        # SQLAlchemy 2.1 takes `postgresql://` for psycopg 3; dagster-postgres comes with psycopg2.
        raise CurationError(
            "dagster.yaml: `postgresql` asks SQLAlchemy for the package psycopg, which is not installed: write "
            "`postgresql+psycopg2` (in postgres_url, or as postgres_db.scheme)"
        ) from error
    if in_postgres(instance.event_log_storage):
        # It writes batches too, if it is handed any.
        os.environ.setdefault(_BATCH_SIZE, str(_EVENTS_PER_TRANSACTION))
    ref = instance.get_ref()
    stock = ref.storage_data
    if stock is None or stock.class_name != DagsterSqliteStorage.__name__:
        return instance
    instance.dispose()
    batched = stock._replace(module_name=__name__, class_name=BatchedSqliteStorage.__name__)
    return dg.DagsterInstance.from_ref(ref._replace(storage_data=batched))
