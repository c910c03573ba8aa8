"""Runs whose process is gone: mark them as failed and free the slots they held."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import dagster as dg

PROCESS_TAG = "curation/process"
ACTIVE_STATUSES = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def process_name() -> str:
    """This process as a run's tag names it."""
    return f"{os.getpid()}@{socket.gethostname()}"


def close_dead_runs(instance: dg.DagsterInstance) -> int:
    """Mark runs as failed whose process on this machine is gone, and free the slots of every ended run.

    Otherwise the next run would wait for ever for a slot of a Dagster pool that a killed run still holds.

    Returns:
        Runs that were closed.
    """
    n_closed = 0
    for run in instance.get_runs(dg.RunsFilter(statuses=ACTIVE_STATUSES)):
        pid, _, host = run.tags.get(PROCESS_TAG, "").partition("@")
        if pid and host == socket.gethostname() and not _is_alive(int(pid)):
            instance.report_run_failed(run, f"process {pid} no longer exists; what it finished is kept")
            n_closed += 1
    free_leaked_slots(instance)
    return n_closed


def free_leaked_slots(instance: dg.DagsterInstance) -> int:
    """Free the slots of runs that have ended or do not exist; returns how many runs held any."""
    storage = instance.event_log_storage
    if not storage.supports_global_concurrency_limits:
        return 0
    holders: set[str] = set()
    for key in storage.get_concurrency_keys():
        info = storage.get_concurrency_info(key)
        holders |= {slot.run_id for slot in info.claimed_slots}
        holders |= {step.run_id for step in info.pending_steps}
    ended = [
        run_id for run_id in holders if (run := instance.get_run_by_id(run_id)) is None or run.is_finished
    ]
    for run_id in ended:
        storage.free_concurrency_slots_for_run(run_id)
    return len(ended)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    """Whether a process has ended but its parent has not collected it yet (Linux)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        return stat.rpartition(")")[2].split()[0] == "Z"
    except (OSError, IndexError):
        return False
