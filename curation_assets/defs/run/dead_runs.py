"""Runs of this package whose process is gone: mark them as failed and free the slots they held.

The instance may be shared: runs of others carry none of our tags, and are left alone.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Collection

import dagster as dg

from curation_assets.defs.run.tags import PARENT_RUN_TAG, PARENT_TAG, POOL_TAG
from curation_assets.storage.claims.processes import is_alive, process_name, start_of

# The prefix keeps it from the tags that the UI shows.
PROCESS_TAG = ".dagster/curation_process"
ACTIVE_STATUSES = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
_IN_PROCESS = (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING)


def process_tag() -> dict[str, str]:
    """The tag of a run that this process executes: the process, and when it started."""
    return {PROCESS_TAG: f"{process_name()} {start_of(os.getpid())}"}


def close_dead_runs(instance: dg.DagsterInstance, ops: Collection[str] = ()) -> int:
    """Mark runs as failed whose process on this machine is gone, or whose parent has ended; free their slots.

    Otherwise the next run would wait for ever for a slot of a Dagster pool that a killed run still holds.

    Args:
        instance: may hold runs of others too.
        ops: see `free_leaked_slots`.

    Returns:
        Runs that were closed, not counting the waves of others.
    """
    n_closed = 0
    for run in instance.get_runs(dg.RunsFilter(statuses=ACTIVE_STATUSES)):
        if PARENT_TAG in run.tags and run.status not in _IN_PROCESS:
            # Executed again, and not begun yet: its tag is a copy that names the process of the first time.
            continue
        name, _, started = run.tags.get(PROCESS_TAG, "").partition(" ")
        pid, _, host = name.partition("@")
        if pid and host == socket.gethostname() and not is_alive(int(pid), started):
            instance.report_run_failed(run, f"process {pid} no longer exists; what it finished is kept")
            n_closed += PARENT_RUN_TAG not in run.tags
    for run in instance.get_runs(dg.RunsFilter(statuses=ACTIVE_STATUSES)):
        parent = run.tags.get(PARENT_RUN_TAG)
        # A wave that is executed again is on its own.
        if parent and PARENT_TAG not in run.tags and _has_ended(instance, parent):
            instance.report_run_failed(
                run, f"run {parent} has ended, of which this is a wave; finished work is kept"
            )
    free_leaked_slots(instance, ops)
    return n_closed


def free_leaked_slots(instance: dg.DagsterInstance, ops: Collection[str] = ()) -> int:
    """Free the slots of our runs that have ended or do not exist; returns how many runs held any.

    Args:
        instance: may hold runs of others too.
        ops: names of a pool's operations. A slot that one of them holds is ours, also if its run has no tag of ours or
            was deleted.
    """
    storage = instance.event_log_storage
    if not storage.supports_global_concurrency_limits:
        return 0
    steps_of: dict[str, set[str]] = {}
    for key in storage.get_concurrency_keys():
        info = storage.get_concurrency_info(key)
        holders = [(slot.run_id, slot.step_key) for slot in info.claimed_slots]
        holders += [(step.run_id, step.step_key) for step in info.pending_steps]
        for run_id, step in holders:
            steps_of.setdefault(run_id, set()).add(step)
    ended = [
        run_id
        for run_id, steps in steps_of.items()
        if (run := instance.get_run_by_id(run_id)) is None or run.is_finished
        if not steps.isdisjoint(ops) or (run and _is_ours(run))
    ]
    for run_id in ended:
        storage.free_concurrency_slots_for_run(run_id)
    return len(ended)


def _is_ours(run: dg.DagsterRun) -> bool:
    return not {POOL_TAG, PROCESS_TAG, PARENT_RUN_TAG}.isdisjoint(run.tags)


def _has_ended(instance: dg.DagsterInstance, run_id: str) -> bool:
    return (run := instance.get_run_by_id(run_id)) is None or run.is_finished
