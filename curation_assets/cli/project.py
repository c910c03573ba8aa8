"""The project as the command line sees it: home, pools, Dagster instance, one run at a time per pool."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from curation_assets.errors import PoolBusyError, PoolSpecError
from curation_assets.home import Home, find_home
from curation_assets.pools import PoolSpec, load_pool_specs

if TYPE_CHECKING:
    import dagster as dg

PROCESS_TAG = "curation/process"


def open_home() -> Home:
    """The project's home; Dagster's environment follows it where the user has not set it."""
    home = find_home()
    os.environ.setdefault("CURATION_STATE", str(home.dagster_state))
    home.dagster_state.mkdir(parents=True, exist_ok=True)
    if "DAGSTER_HOME" not in os.environ:
        config = home.folder / "dagster.yaml"
        os.environ["DAGSTER_HOME"] = str(home.folder if config.exists() else home.dagster_state)
    return home


def find_spec(home: Home, pool: str) -> PoolSpec:
    """A pool by name.

    Raises:
        PoolSpecError: if there is none, naming those there are.
    """
    specs = load_pool_specs(home.pools_folder)
    if pool not in specs:
        raise PoolSpecError(
            f"--pool {pool}: no such pool in {home.pools_folder}; there are: {', '.join(specs) or 'none'}"
        )
    return specs[pool]


@contextmanager
def only_runner(home: Home, pool: str) -> Iterator[None]:
    """Hold the pool's lock; the system releases it however this process ends.

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
        lock.write(process_name())
        lock.flush()
        yield


def process_name() -> str:
    """This process as a run's tag names it."""
    return f"{os.getpid()}@{socket.gethostname()}"


def close_dead_runs(instance: dg.DagsterInstance) -> int:
    """Mark runs as failed whose command-line process on this machine is gone; returns how many there were."""
    import dagster as dg

    active = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.NOT_STARTED]
    n_closed = 0
    for run in instance.get_runs(dg.RunsFilter(statuses=active)):
        pid, _, host = run.tags.get(PROCESS_TAG, "").partition("@")
        if pid and host == socket.gethostname() and not _is_alive(int(pid)):
            instance.report_run_failed(run, f"process {pid} is gone; what it had finished is kept")
            n_closed += 1
    return n_closed


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
