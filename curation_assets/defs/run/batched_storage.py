"""Dagster's SQLite storage, writing the events of a range of partitions in one transaction.

Dagster's own class takes 12 to 27 ms per event, because it opens an engine and commits twice for each. For ten assets
of 1,000 shards that is most of a run's time. Files and tables stay the same: either class opens what the other wrote.

The import fails if a release of Dagster has changed what this extends; `event_log` takes the stock class then.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

# Private, as Dagster exports no storage classes to extend.
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage

from curation_assets.defs.run.databases import (
    BATCH_SIZE_VARIABLE,
    EVENTS_PER_TRANSACTION,
    setting_up,
    wait_when_locked,
)

_ASSET_EVENTS = {
    dg.DagsterEventType.ASSET_MATERIALIZATION,
    dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
    dg.DagsterEventType.ASSET_OBSERVATION,
}
_EXTENDED = (
    "_event_to_row", "has_table", "index_transaction", "run_connection", "store_asset_event",
    "store_asset_event_tags", "store_event", "store_event_batch",
)  # fmt: skip
if missing := [name for name in _EXTENDED if not hasattr(SqliteEventLogStorage, name)]:
    raise ImportError(f"SqliteEventLogStorage has no {', '.join(missing)}")
_IN_ONE_TRANSACTION = all(
    hasattr(SqliteEventLogStorage, name) for name in ("_store_asset_event", "_store_asset_event_tags")
)
"""Whether an event, its tags and the entry of its asset are stored together; early releases of 1.13 cannot."""


class BatchedEventLog(SqliteEventLogStorage):
    """Stores the events that Dagster passes together in one transaction per database.

    Dagster batches the events of a step's partitions, and the events that announce these when a run is created.
    A process killed before a batch is stored loses it; the facts beside the outputs still say what was made.
    """

    def __init__(self, base_dir: str, inst_data: Any = None) -> None:
        # Set first, as Dagster's constructor calls has_table.
        self._tables_seen: set[str] = set()
        super().__init__(base_dir, inst_data)

    def store_event_batch(self, events: Sequence[dg.EventLogEntry]) -> None:
        """Store events in the database of their run, and asset events also in the index of all runs."""
        of_assets = [event for event in events if event.dagster_event_type in _ASSET_EVENTS]
        # The UI pages by the order of storage and by time.
        of_assets.sort(key=lambda event: event.timestamp)
        by_run: dict[str, list[dg.EventLogEntry]] = {}
        for event in of_assets:
            by_run.setdefault(event.run_id, []).append(event)
        for run_id, of_run in by_run.items():
            self._store_asset_events(run_id, of_run)
        for event in events:
            if event.dagster_event_type not in _ASSET_EVENTS:
                self.store_event(event)

    def _store_asset_events(self, run_id: str, events: Sequence[dg.EventLogEntry]) -> None:
        insert = SqlEventLogStorageTable.insert()
        rows = [self._event_to_row(event) for event in events]
        with self.run_connection(run_id) as connection:
            connection.execute(insert, rows)
        with self.index_transaction() as connection:
            # One by one to get their ids; the statement is compiled once.
            ids = [connection.execute(insert, row).lastrowid for row in rows]
            # The entry of an asset keeps only the last event of each type.
            last = {
                (event.get_dagster_event().asset_key, event.dagster_event_type): (event, event_id)
                for event, event_id in zip(events, ids, strict=True)
            }
            if _IN_ONE_TRANSACTION:
                self._store_asset_event_tags(connection, events, ids)
                for event, event_id in last.values():
                    self._store_asset_event(connection, event, event_id)
        if not _IN_ONE_TRANSACTION:
            for event, event_id in last.values():
                self.store_asset_event(event, event_id)
            self.store_asset_event_tags(events, ids)

    def has_table(self, table_name: str) -> bool:
        """Whether a table exists; cached, as Dagster asks before every query and never drops a table."""
        if table_name not in self._tables_seen and super().has_table(table_name):
            self._tables_seen.add(table_name)
        return table_name in self._tables_seen


class BatchedSqliteStorage(DagsterSqliteStorage):
    """Dagster's SQLite storage with a `BatchedEventLog`: `storage.custom` of dagster.yaml."""

    def __init__(self, base_dir: str, inst_data: Any = None) -> None:
        wait_when_locked()
        with setting_up(Path(base_dir)):
            super().__init__(base_dir, inst_data)
            self._event_log_storage = BatchedEventLog(os.path.join(base_dir, "history", "runs", ""))  # noqa: PTH118
        # Dagster batches events only if this variable is set.
        os.environ.setdefault(BATCH_SIZE_VARIABLE, str(EVENTS_PER_TRANSACTION))

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Mapping[str, Any]) -> BatchedSqliteStorage:
        """See `ConfigurableClass`."""
        return cls.from_local(inst_data=inst_data, **config_value)
