"""Asset backfills as Dagster's daemon walks them, tick by tick, without a daemon."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
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


def walk(
    context: WorkspaceRequestContext,
    instance: dg.DagsterInstance,
    selection: Sequence[dg.AssetKey],
    partitions: Sequence[str] | None,
    execute: Callable[[dg.RunRequest], bool] = lambda _: True,
) -> tuple[list[list[dg.RunRequest]], set[str]]:
    """What the daemon runs for an asset backfill.

    Args:
        context: the loaded code location.
        instance: where its partitions are.
        selection: the chosen assets.
        partitions: the chosen partitions, as the UI sends them; None for `allPartitions`, as GraphQL can.
        execute: runs a request; whether it succeeded.

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
    failed = AssetGraphSubset()
    made = AssetGraphSubset()
    for _ in range(_MOST_TICKS):
        result = execute_asset_backfill_iteration_inner("b", data, view, began, _QUIET, None)
        if not result.run_requests:
            return ticks, targeted
        ticks.append(list(result.run_requests))
        for run in result.run_requests:
            outputs = _get_requested_asset_graph_subset_from_run_requests([run], view)
            if execute(run):
                made |= outputs
            else:
                failed |= outputs
        data = result.backfill_data.with_run_requests_submitted(result.run_requests, view)
        # With no storage id the daemon takes what is materialized from here, not from the event log. It asks for
        # nothing downstream of what failed, because that is never materialized.
        data = data._replace(latest_storage_id=None, materialized_subset=made)
    raise AssertionError("the backfill does not end")
