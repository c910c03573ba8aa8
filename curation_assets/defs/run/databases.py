"""Dagster's SQLite files: made by one process at a time, and waited for while another holds them."""

from __future__ import annotations

import fcntl
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine

BUSY_SECONDS = 120.0
"""How long a statement waits for a lock that a backup or another process holds; Dagster's own limit is 5 to 30 s."""
BATCH_SIZE_VARIABLE = "DAGSTER_EVENT_BATCH_SIZE"
"""Dagster passes events to its storage together only if this variable is set."""
EVENTS_PER_TRANSACTION = 1000
_SETUP = "setup.lock"
_depth = threading.local()


def wait_when_locked() -> None:
    """Make all connections to SQLite of this process wait `BUSY_SECONDS` for locks."""
    if not event.contains(Engine, "connect", _be_patient):
        event.listen(Engine, "connect", _be_patient)


def _be_patient(connection: Any, _: Any) -> None:
    if isinstance(connection, sqlite3.Connection):
        connection.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000:.0f}").close()


@contextmanager
def setting_up(state: Path) -> Iterator[None]:
    """One process at a time makes the tables in a folder; Dagster's processes that start first at once race for that.

    The system ends the lock with the process. Blocks may lie within each other.
    """
    if getattr(_depth, "value", 0):
        yield
        return
    state.mkdir(parents=True, exist_ok=True)
    with (state / _SETUP).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _depth.value = 1
        try:
            yield
        finally:
            _depth.value = 0
