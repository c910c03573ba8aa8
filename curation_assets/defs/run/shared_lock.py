"""One runner at a time per pool over all machines, where Dagster keeps its runs in PostgreSQL."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import dagster as dg

from curation_assets.defs.run.event_log import in_postgres
from curation_assets.errors import PoolBusyError

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

# Two hours by default: a machine that is gone would keep its lock for as long.
_KEEPALIVES = {"tcp_keepalives_idle": 30, "tcp_keepalives_interval": 10, "tcp_keepalives_count": 3}


@contextmanager
def only_runner_of_all(instance: dg.DagsterInstance, pool: str) -> Iterator[None]:
    """Hold the pool's lock in PostgreSQL; with any other storage of Dagster's there is none to hold.

    It is an advisory lock of a session: the server releases it however its holder ends. `pool_lock.only_runner`
    goes first and spares this machine's own processes the question.

    Args:
        instance: Dagster's.
        pool: name of the pool.

    Raises:
        PoolBusyError: if a process, on whatever machine, holds it.
    """
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
            # Closing the session would do, but a pool of connections might keep it open.
            connection.exec_driver_sql("SELECT pg_advisory_unlock(%s)", (key,))


def _take(connection: Connection, pool: str, key: int) -> None:
    for name, seconds in _KEEPALIVES.items():
        connection.exec_driver_sql(f"SET {name} = {seconds}")
    if _first(connection, "SELECT pg_try_advisory_lock(%s)", key):
        # At most 63 bytes of a name are kept.
        name = f"{os.getpid()}@{socket.gethostname()}"[:63]
        connection.exec_driver_sql("SELECT set_config('application_name', %s, false)", (name,))
        return
    # As one bigint it is stored in two halves.
    holder = _first(
        connection,
        "SELECT application_name FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory' "
        "AND granted AND ((classid::bigint << 32) | objid::bigint) = %s AND objsubid = 1",
        key,
    )
    raise PoolBusyError(
        f"another process ({holder or 'unknown'}) is running pool '{pool}', says PostgreSQL: wait for it or stop it"
    )


def _first(connection: Connection, query: str, value: int) -> Any:
    row = connection.exec_driver_sql(query, (value,)).fetchone()
    return row[0] if row else None


def _key(pool: str) -> int:
    """The pool's number among the database's advisory locks."""
    digest = hashlib.sha256(f"curation-assets runs pool {pool}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
