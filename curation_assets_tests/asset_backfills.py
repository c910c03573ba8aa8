"""Asset backfills as Dagster's daemon walks them, tick by tick, without a daemon."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import dagster as dg
from dagster._core.asset_graph_view.asset_graph_view import AssetGraphView, TemporalContext
from dagster._core.definitions.assets.graph.asset_graph_subset import AssetGraphSubset
from dagster._core.execution.asset_backfill import (
    AssetBackfillData,
    _get_requested_asset_graph_subset_from_run_requests,
    execute_asset_backfill_iteration_inner,
)
from dagster._core.test_utils import in_process_test_workspace
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceRequestContext
from dagster._time import datetime_from_timestamp, get_current_timestamp

from curation_assets.defs.pool_definitions import build_definitions
from curation_assets.defs.run.tags import RANGE_END_TAG, RANGE_START_TAG
from curation_assets.graph.base import Step
from curation_assets_tests.projects import Project, environment_of

_MOST_TICKS = 40
_QUIET = logging.getLogger("curation_assets_tests.asset_backfills")
_QUIET.setLevel(logging.CRITICAL)


def upstream_of(steps: Mapping[str, Step], name: str) -> set[str]:
    """Everything that must run before a step."""
    sources = {*steps[name].inputs, *steps[name].after}
    return sources.union(*(upstream_of(steps, source) for source in sources))


def follow(steps: Mapping[str, Step], first: str) -> list[str]:
    """An asset and everything downstream of it: what a click on "select downstream" chooses."""
    return [name for name in steps if name == first or first in upstream_of(steps, name)]


@contextmanager
def workspace_of(project: Project, instance: dg.DagsterInstance) -> Iterator[WorkspaceRequestContext]:
    """The project's code location, loaded into this process."""
    target = LoadableTargetOrigin(
        executable_path=None,
        module_name="curation_assets.definitions",
        working_directory=str(Path(__file__).parents[1]),
    )
    with environment_of(project.environment), in_process_test_workspace(instance, target) as context:
        yield context


@dataclass
class Clicker:
    """Launches runs of a project's assets in this process, as the UI and the daemon would."""

    project: Project
    instance: dg.DagsterInstance
    context: WorkspaceRequestContext

    @cached_property
    def _job(self) -> dg.JobDefinition:
        return build_definitions(
            [self.project.spec], self.project.home
        ).resolve_implicit_global_asset_job_def()

    def materialize(
        self, names: Sequence[str], partitions: Sequence[str] | None = None, **config: bool
    ) -> dg.ExecuteInProcessResult:
        """Materialize assets in one run, over neighbouring partitions; `config` is what the launch dialog asks."""
        tags = {RANGE_START_TAG: partitions[0], RANGE_END_TAG: partitions[-1]} if partitions else {}
        ops = {"ops": {f"emoji__{name}": {"config": config} for name in names}} if config else {}
        job = build_definitions(
            [self.project.spec], self.project.home
        ).resolve_implicit_global_asset_job_def()
        return job.execute_in_process(
            instance=self.instance,
            asset_selection=[dg.AssetKey(["emoji", name]) for name in names],
            tags=tags,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}, **ops},
            raise_on_error=False,
        )

    def backfill(self, names: Sequence[str], partitions: Sequence[str] | None) -> list[str]:
        """An asset backfill; the errors of its runs."""
        errors: list[str] = []

        def execute(run: dg.RunRequest) -> set[dg.AssetKey]:
            chosen = [key.path[-1] for key in run.asset_selection or ()]
            start, end = run.tags.get(RANGE_START_TAG), run.tags.get(RANGE_END_TAG)
            result = self.materialize(chosen, [start, end] if start and end else None)
            errors.extend(errors_of(result))
            return {event.asset_key for event in result.get_asset_materialization_events() if event.asset_key}

        selection = [dg.AssetKey(["emoji", name]) for name in names]
        walk(self.context, self.instance, selection, partitions, execute)
        return errors


@contextmanager
def clicking(project: Project) -> Iterator[Clicker]:
    """Clicks on a project, whose settings must not change meanwhile."""
    with project.instance() as instance, workspace_of(project, instance) as context:
        yield Clicker(project, instance, context)


def errors_of(result: dg.ExecuteInProcessResult) -> list[str]:
    """What the failed steps of a run say."""
    failures = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    return [
        str(found.user_failure_data.description) if found.user_failure_data else str(found)
        for found in failures
    ]


def walk(
    context: WorkspaceRequestContext,
    instance: dg.DagsterInstance,
    selection: Sequence[dg.AssetKey],
    partitions: Sequence[str] | None,
    execute: Callable[[dg.RunRequest], Collection[dg.AssetKey]] = lambda run: run.asset_selection or (),
) -> tuple[list[list[dg.RunRequest]], set[str]]:
    """What the daemon runs for an asset backfill.

    Args:
        context: the loaded code location.
        instance: where its partitions are.
        selection: the chosen assets.
        partitions: the chosen partitions, as the UI sends them; None for `allPartitions`, as GraphQL can.
        execute: runs a request; the assets that it materialized.

    Returns:
        The runs of each of its ticks, and the assets that the backfill says it targets.
    """
    graph, began = context.asset_graph, get_current_timestamp()
    now = TemporalContext(effective_dt=datetime_from_timestamp(began), last_event_id=None)
    view = AssetGraphView(temporal_context=now, instance=instance, asset_graph=graph)
    data = AssetBackfillData.from_asset_partitions(
        asset_graph=graph,
        partition_names=partitions,
        asset_selection=selection,
        dynamic_partitions_store=instance,
        backfill_start_timestamp=began,
        all_partitions=partitions is None,
    )
    targeted = {key.path[-1] for key in data.target_subset.asset_keys}
    ticks: list[list[dg.RunRequest]] = []
    made = AssetGraphSubset()
    for _ in range(_MOST_TICKS):
        result = execute_asset_backfill_iteration_inner("b", data, view, began, _QUIET, None)
        if not result.run_requests:
            return ticks, targeted
        ticks.append(list(result.run_requests))
        for run in result.run_requests:
            outputs = _get_requested_asset_graph_subset_from_run_requests([run], view)
            made |= outputs.filter_asset_keys(set(execute(run)))
        data = result.backfill_data.with_run_requests_submitted(result.run_requests, view)
        # With no storage id the daemon takes what is materialized from here, not from the event log. It asks for
        # nothing downstream of what failed, because that is never materialized.
        data = data._replace(latest_storage_id=None, materialized_subset=made)
    raise AssertionError("the backfill does not end")
