"""Runs that a server's UI launches: started, waited for, and what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import dagster as dg

from curation_assets.defs.run.tags import RANGE_END_TAG, RANGE_START_TAG
from curation_assets.graph.steps import pool_steps
from curation_assets_tests.projects import spec_of
from curation_assets_tests.test_clicking import SHARDS
from curation_assets_tests.ui.dev_server import DevServer, wait_for

_LAUNCH = """mutation Launch($params: ExecutionParams!) { launchPipelineExecution(executionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on Error { message }
} }"""
_AGAIN = """mutation Again($params: ReexecutionParams!) { launchPipelineReexecution(reexecutionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on Error { message }
} }"""
_ENDED = ("SUCCESS", "FAILURE", "CANCELED")
_LONGEST_RUN = 900


def launch(
    server: DevServer,
    names: Sequence[str],
    tags: Mapping[str, str],
    *,
    pool: str = "emoji",
    job: str = "__ASSET_JOB",
) -> str:
    """*Materialize* some assets, or all of a job, over all shards: the id of the run."""
    steps = pool_steps(spec_of())
    every = dict(tags)
    if any(steps[name].partitioned for name in names or steps):
        every |= {RANGE_START_TAG: SHARDS[0], RANGE_END_TAG: SHARDS[-1]}
    selector = {
        "repositoryLocationName": "curation_assets",
        "repositoryName": "__repository__",
        "pipelineName": job,
    }
    chosen = {"assetSelection": [{"path": [pool, name]} for name in names]} if names else {}
    params = {
        "selector": selector | chosen,
        "mode": "default",
        "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in every.items()]},
    }
    answer = server.graphql(_LAUNCH, params=params)["launchPipelineExecution"]
    assert answer["__typename"] == "LaunchRunSuccess", answer
    return str(answer["run"]["runId"])


def reexecute(server: DevServer, run_id: str) -> str:
    """*Re-execute from failure*: the id of the new run."""
    params = {"parentRunId": run_id, "strategy": "FROM_FAILURE"}
    answer = server.graphql(_AGAIN, params=params)["launchPipelineReexecution"]
    assert answer["__typename"] == "LaunchRunSuccess", answer
    return str(answer["run"]["runId"])


def status(server: DevServer, run_id: str) -> str:
    """The status of a run."""
    with server.instance() as instance:
        run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status.value


def end_of(server: DevServer, run_id: str) -> str:
    """The status of a run when it has ended."""

    def look() -> str | None:
        found = status(server, run_id)
        return found if found in _ENDED else None

    return wait_for("a run to end", look, _LONGEST_RUN)


def errors(server: DevServer, run_id: str) -> list[str]:
    """What the failed steps of a run say."""
    said = []
    with server.instance() as instance:
        for record in instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE):
            event = record.dagster_event
            data = event.step_failure_data.user_failure_data if event else None
            said.append(str(data.description if data else event))
    return said
