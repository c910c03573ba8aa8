"""One runner of a pool at a time: commands, runs of `<pool>_curate`, ticks of the sensor and steps claim its storage.

The claim lies with the outputs, so it holds for all machines and containers that write them, whatever state folder or
database each keeps its runs in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import dagster as dg

from curation_assets.defs.run.interrupts import stop_if_interrupted
from curation_assets.project import Home
from curation_assets.storage.claims.claim import claim_held, claimed, works_below_a_claim
from curation_assets.storage.pool_storage import PoolStorage

PATIENCE_SECONDS = 5.0
"""A tick of the sensor rarely takes longer."""
STEP_PATIENCE_SECONDS = 60.0
"""A step waits for a tick that lists many files. Not for a run, which may wait for the slot that the step holds."""


@contextmanager
def only_runner(
    home: Home,
    pool: str,
    what: str,
    *,
    patience: float = 0.0,
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[None]:
    """Claim a pool for the block.

    Args:
        home: of the project.
        pool: name.
        what: this process does, for others who want the pool.
        patience: seconds to wait for another process; a tick of the sensor claims the pool for a moment.
        say: tells the user a line.

    Raises:
        PoolBusyError: if another process, on this machine or another, has claimed it.
    """
    folder = home.storage(pool).folder
    with claimed(folder, what, patience=patience, say=say, pause=stop_if_interrupted):
        yield


@contextmanager
def step_at_work(
    storage: PoolStorage, instance: dg.DagsterInstance, run_id: str, step: str, say: Callable[[str], None]
) -> Iterator[None]:
    """Claim a pool for a step, unless it is of a command or run that has claimed it.

    Steps of runs of one Dagster instance may work at the same time.

    Raises:
        PoolBusyError: if a command, a run of `<pool>_curate` or a step of another instance has claimed the pool.
    """
    if works_below_a_claim(storage.folder):
        require_claim(storage)
        yield
        return
    what = f"step {step} of run {run_id[:8]} in Dagster"
    with claimed(
        storage.folder,
        what,
        group=_name_of(instance),
        patience=STEP_PATIENCE_SECONDS,
        say=say,
        pause=stop_if_interrupted,
    ):
        yield


def require_claim(storage: PoolStorage) -> None:
    """Make sure that this process still holds what it has claimed.

    Raises:
        PoolBusyError: if the claim was taken over.
    """
    if claim := claim_held(storage.folder):
        claim.require()


def _name_of(instance: dg.DagsterInstance) -> str:
    """A name that is the same on all machines that use the instance, and no other instance's."""
    # Storages that keep runs in tables have one; their base class does not declare it.
    if ask := getattr(instance.run_storage, "get_run_storage_id", None):
        return str(ask())
    # Dagster+ keeps runs behind its API. These tell its deployments apart.
    parts = (getattr(instance, name, None) for name in ("organization_name", "deployment_name"))
    return "/".join([type(instance).__name__, *(str(part or "") for part in parts)])
