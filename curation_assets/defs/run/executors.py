"""Where the steps of a run are executed: in the run's own process, or each as a job of a Ray cluster."""

from __future__ import annotations

import os
from typing import Final

import dagster as dg

from curation_assets.errors import CurationError

EXECUTOR_VARIABLE: Final = "CURATION_EXECUTOR"
IN_PROCESS, RAY = "in_process", "ray"
# Nothing secret: what a job is handed can be read by whoever may list the cluster's jobs.
_HANDED_ON = ("CURATION_", "DAGSTER_HOME", "DAGSTER_EVENT_BATCH_SIZE", "OMP_NUM_THREADS")


def executor_name() -> str:
    """What CURATION_EXECUTOR names; `in_process` if it is not set.

    Raises:
        CurationError: if it is neither `in_process` nor `ray`.
    """
    name = os.environ.get(EXECUTOR_VARIABLE) or IN_PROCESS
    if name not in (IN_PROCESS, RAY):
        raise CurationError(f"{EXECUTOR_VARIABLE}={name}: choose {IN_PROCESS} (the default) or {RAY}")
    return name


def chosen_executor() -> dg.ExecutorDefinition:
    """The executor of the pools' jobs.

    With `ray` every step is a Ray job, submitted to the cluster of the instance's RayRunLauncher or, without one,
    to the address that Ray reads from RAY_API_SERVER_ADDRESS. What runs wave after wave in a process of its own
    (the command line, the job `<pool>_curate`) stays there.

    Raises:
        CurationError: if dagster-ray is not installed, or CURATION_EXECUTOR names no executor.
    """
    if executor_name() == IN_PROCESS:
        return dg.in_process_executor
    try:
        from dagster_ray import ray_executor
    except ImportError as error:
        raise CurationError(
            f"{EXECUTOR_VARIABLE}={RAY} needs dagster-ray: pip install 'curation-assets[cluster]'"
        ) from error
    return ray_executor.configured({"ray": {"env_vars": _handed_on()}}, name="ray")


def steps_share_a_process() -> bool:
    """Whether the process of a step is that of its run: only then may the run be judged by it."""
    return executor_name() == IN_PROCESS


def _handed_on() -> list[str]:
    """Names of the variables that the steps' jobs get from this process, beside those of their machine."""
    return sorted(name for name in os.environ if name.startswith(_HANDED_ON))
