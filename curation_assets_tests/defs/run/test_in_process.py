"""Runs that this process executes: found by the UI, and closed however they end."""

import os
import signal
from pathlib import Path

import dagster as dg
import pytest
from dagster_graphql.schema import create_schema

from curation_assets.defs.run.in_process import execute_in_process
from curation_assets.defs.run.origin import job_origin
from curation_assets_tests.asset_backfills import workspace_of
from curation_assets_tests.projects import SMALL_POOL, Project

LIMITS = "concurrency:\n  pools:\n    granularity: op\n    default_limit: 1\n"
_RUNS = """{
  runsOrError { ... on Runs { results { pipelineName repositoryOrigin { repositoryName repositoryLocationName } } } }
}"""


@dg.op(pool="gpu")
def one() -> None: ...


@dg.op(pool="gpu")
def interrupted() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    raise AssertionError("the signal comes first")


@dg.op
def failing() -> None:
    raise dg.Failure("not today", allow_retries=False)


@dg.job
def works() -> None:
    one()


@dg.job
def is_interrupted() -> None:
    interrupted()


@dg.job
def fails() -> None:
    failing()


def test_a_run_has_its_tags_and_its_place_in_the_ui(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.write_pool(SMALL_POOL)
    (tmp_path / "dagster.yaml").write_text(LIMITS)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        result = execute_in_process(
            works, instance, tags={"a": "b"}, origin=job_origin(project.home, "works")
        )
        assert result.success
        run = instance.get_run_by_id(result.run_id)
        assert run is not None
        assert run.tags["a"] == "b"
        # What the history of a job asks for.
        repository = {".dagster/repository": "__repository__@curation_assets"}
        assert [found.run_id for found in instance.get_runs(dg.RunsFilter(tags=repository))] == [run.run_id]
        # What the timeline asks for; without an origin it leaves the run out.
        with workspace_of(project, instance) as context:
            answer = create_schema().execute(_RUNS, context_value=context)
    assert not answer.errors
    assert answer.data == {
        "runsOrError": {
            "results": [
                {
                    "pipelineName": "works",
                    "repositoryOrigin": {
                        "repositoryName": "__repository__",
                        "repositoryLocationName": "curation_assets",
                    },
                }
            ]
        }
    }


def test_an_interrupted_run_is_cancelled_and_gives_its_slot_back(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text(LIMITS)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        with pytest.raises(dg.DagsterExecutionInterruptedError):
            execute_in_process(is_interrupted, instance, tags={})
        [run] = instance.get_runs()
        assert run.status == dg.DagsterRunStatus.CANCELED
        assert not instance.event_log_storage.get_concurrency_info("gpu").claimed_slots
        assert execute_in_process(works, instance, tags={}).success


def test_a_failure_is_a_result(tmp_path: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        result = execute_in_process(fails, instance, tags={})
        assert not result.success
        assert instance.get_runs()[0].status == dg.DagsterRunStatus.FAILURE
