"""One runner at a time per pool: a lock that the system releases however its holder ends."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from curation_assets.errors import PoolBusyError
from curation_assets.project import Home


@contextmanager
def only_runner(home: Home, pool: str) -> Iterator[None]:
    """Hold the pool's lock.

    Raises:
        PoolBusyError: if another process holds it.
    """
    path = home.dagster_state / "locks" / f"{pool}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise PoolBusyError(
                f"another process ({lock.read().strip() or 'unknown'}) is running pool '{pool}': wait for it or stop it"
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}@{socket.gethostname()}")
        lock.flush()
        yield
