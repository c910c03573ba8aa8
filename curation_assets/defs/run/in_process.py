"""Executes a job in this process, as Dagster's `execute_in_process` does, but as a run that the UI finds."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import dagster as dg

from curation_assets.defs.run.interrupts import stop_if_interrupted
from curation_assets.defs.run.origin import Origin
from curation_assets.defs.run.private_api import without

try:
    # Private, as Dagster's own takes no origin.
    from dagster._core.definitions.job_base import InMemoryJob
    from dagster._core.execution.api import (
        ExecuteRunWithPlanIterable,
        create_execution_plan,
        job_execution_iterator,
    )
    from dagster._core.execution.context_creation_job import (
        PlanOrchestrationContextManager,
        orchestration_context_event_generator,
    )
except ImportError as error:
    without("runs of the command line have no place in the UI's timeline", error)
    InMemoryJob = None  # type: ignore[assignment, misc]

_QUIET: Mapping[str, Any] = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def execute_in_process(
    job: dg.JobDefinition,
    instance: dg.DagsterInstance,
    *,
    tags: Mapping[str, str],
    origin: Origin | None = None,
    assets: Collection[dg.AssetKey] = (),
) -> dg.ExecuteInProcessResult:
    """Execute a job, or some of its assets, as a new run.

    An interrupted run ends as cancelled, and so does what called this.

    Raises:
        dagster.DagsterExecutionInterruptedError: if the run was interrupted or cancelled.
    """
    stop_if_interrupted()
    if InMemoryJob is None:
        return _as_dagster_does(job, instance, tags, assets)
    ephemeral = job.as_ephemeral_job(resource_defs={}, input_values={}, asset_selection=list(assets) or None)
    in_memory = InMemoryJob(ephemeral)
    plan = create_execution_plan(
        in_memory,
        run_config=_QUIET,
        instance_ref=instance.get_ref() if instance.is_persistent else None,
    )
    run = instance.create_run_for_job(
        ephemeral,
        execution_plan=plan,
        run_config=_QUIET,
        tags={**ephemeral.run_tags, **tags},
        asset_selection=frozenset(assets) or None,
        remote_job_origin=origin,
    )
    events = list(
        _with_cancellation(
            instance,
            run,
            iter(
                ExecuteRunWithPlanIterable(
                    execution_plan=plan,
                    iterator=job_execution_iterator,
                    execution_context_manager=PlanOrchestrationContextManager(
                        context_event_generator=orchestration_context_event_generator,
                        job=in_memory,
                        execution_plan=plan,
                        dagster_run=run,
                        instance=instance,
                        run_config=_QUIET,
                        executor_defs=None,
                        output_capture={},
                        raise_on_error=False,
                    ),
                )
            ),
        )
    )
    stop_if_interrupted()
    ended = instance.get_run_by_id(run.run_id) or run
    if ended.status == dg.DagsterRunStatus.CANCELED:
        raise dg.DagsterExecutionInterruptedError
    return dg.ExecuteInProcessResult(events, ended, {}, ephemeral)


def _as_dagster_does(
    job: dg.JobDefinition,
    instance: dg.DagsterInstance,
    tags: Mapping[str, str],
    assets: Collection[dg.AssetKey],
) -> dg.ExecuteInProcessResult:
    result = job.execute_in_process(
        run_config=_QUIET,
        instance=instance,
        tags=dict(tags),
        asset_selection=list(assets) or None,
        raise_on_error=False,
    )
    stop_if_interrupted()
    return result


def _with_cancellation(
    instance: dg.DagsterInstance, run: dg.DagsterRun, events: Iterator[dg.DagsterEvent]
) -> Iterator[dg.DagsterEvent]:
    """The events of a run; when an interrupt ends a step, the run is marked, so that it ends as cancelled."""
    for event in events:
        if event.is_step_failure and _was_interrupted(event):
            instance.report_run_canceling(run, "interrupted")
        yield event


def _was_interrupted(event: dg.DagsterEvent) -> bool:
    # The class of the value is private.
    source = event.step_failure_data.error_source
    return source is not None and source.name == "INTERRUPT"
