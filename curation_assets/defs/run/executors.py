"""Where the steps of a run are executed: in the run's own process, or each as a job on a Ray cluster."""

from __future__ import annotations

import os
from typing import Final

import dagster as dg

from curation_assets.errors import CurationError

EXECUTOR_VARIABLE: Final = "CURATION_EXECUTOR"
IN_PROCESS, RAY = "in_process", "ray"
_ONE_PROCESS = (IN_PROCESS, "execute_in_process_executor")
# No secrets: anyone who may list the cluster's jobs can read these variables.
_HANDED_ON = ("CURATION_", "DAGSTER_HOME", "DAGSTER_EVENT_BATCH_SIZE", "OMP_NUM_THREADS")


def executor_name() -> str:
    """The value of CURATION_EXECUTOR; `in_process` if it is not set.

    Raises:
        CurationError: if it is neither `in_process` nor `ray`.
    """
    name = os.environ.get(EXECUTOR_VARIABLE) or IN_PROCESS
    if name not in (IN_PROCESS, RAY):
        raise CurationError(
            f"{EXECUTOR_VARIABLE}: expected {IN_PROCESS} (the default) or {RAY}, got '{name}'"
        )
    return name


def chosen_executor() -> dg.ExecutorDefinition:
    """The executor of the pools' jobs.

    With `ray` every step is a Ray job, submitted to the cluster of the instance's RayRunLauncher or, without one,
    to RAY_API_SERVER_ADDRESS. The command line and the job `<pool>_curate` always run their steps in one process.

    Raises:
        CurationError: if dagster-ray is not installed, or CURATION_EXECUTOR has another value.
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


def steps_share_a_process(executor: dg.ExecutorDefinition) -> bool:
    """Whether steps run in the process of their run; only then does the run end with that process.

    Args:
        executor: of the run's job. A run that is not of one of our jobs has the executor of its code location, by
            default one that starts a process for each step.
    """
    return executor.name in _ONE_PROCESS


def _handed_on() -> list[str]:
    """Names of the variables that the steps' jobs get from this process."""
    return sorted(name for name in os.environ if name.startswith(_HANDED_ON))
