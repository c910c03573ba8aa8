"""Runs that get in each other's way under the real daemon: edited settings, a stopped run, two runs at once."""

from __future__ import annotations

import json
from typing import Any

import dagster as dg
import pytest

from curation_assets.defs.run.tags import POOL_TAG
from curation_assets.graph.steps import pool_steps
from curation_assets_tests.asset_backfills import follow
from curation_assets_tests.projects import make_project
from curation_assets_tests.test_clicking import digests
from curation_assets_tests.ui.dev_server import WATCHED_POOL, DevServer, wait_for
from curation_assets_tests.ui.launching import end_of, errors, launch, status

pytestmark = pytest.mark.ui

TERMINATE = """mutation Terminate($id: String!) { terminateRun(runId: $id) { __typename } }"""
_LONGEST_RUN = 180


def with_clusters(number: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(WATCHED_POOL))
    found["levels"][1]["n_clusters"] = number
    return found


def test_no_run_mixes_with_another(server: DevServer, tmp_path_factory: pytest.TempPathFactory) -> None:
    project = server.project
    chosen = follow(pool_steps(project.spec), "level_2_initial")

    # A run is stopped midway. Another waits in the queue while the YAML is edited.
    project.write_pool(with_clusters(6))
    stopped = launch(server, chosen, {POOL_TAG: "emoji"})
    queued = launch(server, ["selection"], {POOL_TAG: "emoji"})
    wait_for("the first fit", lambda: has_made(server, stopped, "level_2_initial"), _LONGEST_RUN, every=0.2)
    assert status(server, queued) in ("QUEUED", "NOT_STARTED")
    project.write_pool(with_clusters(5))
    server.graphql(TERMINATE, id=stopped)
    assert end_of(server, stopped) in ("CANCELED", "FAILURE")
    assert end_of(server, queued) == "FAILURE"
    [error] = errors(server, queued)
    assert "level_2_initial, which is out of date (n_clusters changed from 6 to 5): materialize" in error
    assert "or run the job emoji_recluster_from_level_2" in error

    # The same is started twice. What one has made the other finds up to date, or makes again with the same bytes.
    twice = [launch(server, chosen, {}) for _ in range(2)]
    assert "SUCCESS" in {end_of(server, run_id) for run_id in twice}
    for run_id in twice:
        assert all("materialize" in error for error in errors(server, run_id)), errors(server, run_id)
    scratch = make_project(tmp_path_factory.mktemp("scratch"))
    scratch.write_pool(with_clusters(5))
    assert scratch.run("run", "--pool", "emoji")[0] == 0
    assert digests(project) == digests(scratch)
    server.reload()


def has_made(server: DevServer, run_id: str, name: str) -> bool:
    with server.instance() as instance:
        records = instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_SUCCESS)
    return any(
        record.dagster_event and record.dagster_event.step_key == f"emoji__{name}" for record in records
    )
