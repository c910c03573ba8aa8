"""One runner of a pool at a time: a file lock on this machine, and a PostgreSQL lock across machines.

The system releases both when their holder ends, however it ends.
"""

from __future__ import annotations

import fcntl
import hashlib
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import dagster as dg

from curation_assets.defs.run.dead_runs import process_name
from curation_assets.defs.run.event_log import in_postgres
from curation_assets.errors import PoolBusyError
from curation_assets.project import Home

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

PATIENCE_SECONDS = 5.0
"""A tick of the sensor rarely takes longer."""
_LOOK_AGAIN_SECONDS = 0.2
# By default PostgreSQL waits two hours before it drops a machine that is gone, and its lock with it.
_KEEPALIVES = {"tcp_keepalives_idle": 30, "tcp_keepalives_interval": 10, "tcp_keepalives_count": 3}


@contextmanager
def only_runner(
    home: Home, instance: dg.DagsterInstance, pool: str, *, patience: float = 0.0
) -> Iterator[None]:
    """Hold the pool's locks: the file lock first, then the one in PostgreSQL if Dagster stores its runs there.

    Args:
        home: of the project.
        instance: of the project.
        pool: name.
        patience: seconds to wait for another process; a tick of the sensor holds the lock for a moment.

    Raises:
        PoolBusyError: if another process, on this machine or another, holds one of them.
    """
    deadline = time.monotonic() + patience
    with ExitStack() as locks:
        while True:
            try:
                locks.enter_context(_file_lock(home, pool))
                locks.enter_context(_postgres_lock(instance, pool))
                break
            except PoolBusyError:
                locks.close()
                if time.monotonic() > deadline:
                    raise
            time.sleep(_LOOK_AGAIN_SECONDS)
        yield


@contextmanager
def _file_lock(home: Home, pool: str) -> Iterator[None]:
    path = home.dagster_state / "locks" / f"{pool}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise _busy(pool, lock.read().strip(), f"file lock {path}") from None
        lock.truncate(0)
        lock.write(process_name())
        lock.flush()
        yield


@contextmanager
def _postgres_lock(instance: dg.DagsterInstance, pool: str) -> Iterator[None]:
    """An advisory lock of a session: the server releases it when the connection ends."""
    storage = instance.event_log_storage
    if not in_postgres(storage):
        yield
        return
    key = _key(pool)
    with storage.index_connection() as connection:
        _take(connection, pool, key)
        try:
            yield
        finally:
            # A pool of connections may keep the session open, so ending the block is not enough.
            connection.exec_driver_sql("SELECT pg_advisory_unlock(%s)", (key,))


def _take(connection: Connection, pool: str, key: int) -> None:
    for name, seconds in _KEEPALIVES.items():
        connection.exec_driver_sql(f"SET {name} = {seconds}")
    if _first(connection, "SELECT pg_try_advisory_lock(%s)", key):
        # PostgreSQL keeps 63 bytes of a name.
        name = process_name()[:63]
        connection.exec_driver_sql("SELECT set_config('application_name', %s, false)", (name,))
        return
    # pg_locks shows the 64-bit key as two halves.
    holder = _first(
        connection,
        "SELECT application_name FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory' "
        "AND granted AND ((classid::bigint << 32) | objid::bigint) = %s AND objsubid = 1",
        key,
    )
    raise _busy(pool, holder, "advisory lock in PostgreSQL")


def _busy(pool: str, holder: str | None, lock: str) -> PoolBusyError:
    return PoolBusyError(
        f"pool '{pool}' is already being run by process {holder or 'unknown'} ({lock}): wait for it or stop it"
    )


def _first(connection: Connection, query: str, value: int) -> Any:
    row = connection.exec_driver_sql(query, (value,)).fetchone()
    return row[0] if row else None


def _key(pool: str) -> int:
    """The pool's number among the database's advisory locks."""
    digest = hashlib.sha256(f"curation-assets runs pool {pool}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
