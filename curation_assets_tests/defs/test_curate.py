"""One run of a pool is one parent run, and each wave a run below it: by the command line and by the job."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import dagster as dg
import pytest

from curation_assets.defs.pool_definitions import build_definitions
from curation_assets.defs.run.driver import Driver
from curation_assets.defs.run.locks import only_runner
from curation_assets.defs.run.tags import COMMAND_TAG, PARENT_RUN_TAG, POOL_TAG, STEPS_TAG, WAVE_TAG
from curation_assets.defs.run.wave_runner import WaveRunner, name_of
from curation_assets_tests.projects import SMALL_POOL, Project, copy_project, environment_of

TOO_LARGE = {**SMALL_POOL, "targets": [{"name": "small", "size": 10_000}]}
OTHER_SIZE = {**SMALL_POOL, "targets": [{"name": "small", "size": 21}]}
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@pytest.fixture
def project(finished: Project, tmp_path: Path) -> Project:
    """A curated project that a test may change."""
    return copy_project(finished, tmp_path / "project")


def parents_of(instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    return instance.get_runs(dg.RunsFilter(job_name="emoji_curate"))


def waves_of(instance: dg.DagsterInstance, parent: dg.DagsterRun) -> list[dg.DagsterRun]:
    return instance.get_runs(dg.RunsFilter(tags={PARENT_RUN_TAG: parent.run_id}))[::-1]


def told(instance: dg.DagsterInstance, run: dg.DagsterRun) -> list[str]:
    """Messages of a run, and the descriptions of its failures."""
    logs = instance.all_logs(run.run_id)
    events = [log.dagster_event for log in logs if log.dagster_event and log.dagster_event.is_step_failure]
    failures = [event.step_failure_data.user_failure_data for event in events]
    return [log.message for log in logs] + [failure.description or "" for failure in failures if failure]


def test_a_command_is_one_run_with_named_waves(finished: Project) -> None:
    with finished.instance() as instance:
        [parent] = parents_of(instance)
        waves = waves_of(instance, parent)
        assert {run.run_id for run in (parent, *waves)} == set(instance.get_run_ids()), "no other runs"
        lines = told(instance, parent)
    assert parent.status == dg.DagsterRunStatus.SUCCESS
    assert parent.tags[POOL_TAG] == "emoji"
    assert parent.tags[STEPS_TAG] == "raw_pool … curation_report"
    assert parent.tags[COMMAND_TAG].startswith("curation-assets ")
    names = [run.tags[WAVE_TAG] for run in waves]
    assert names[:2] == ["1: raw_pool … embeddings", "2: level_1_initial … level_3_clusters"]
    assert [name.partition(":")[0] for name in names] == [str(i + 1) for i in range(len(names))]
    # The UI shows runs of this job by their assets.
    assert {run.job_name for run in waves} == {"__ASSET_JOB"}
    assert {key.path[-1] for key in waves[0].asset_selection or ()} == {"raw_pool", "embeddings"}
    assert "wave 1: raw_pool … embeddings, 3 shards: not made yet (3)" in lines
    for run in (parent, *waves):
        assert run.remote_job_origin is not None
        assert run.remote_job_origin.location_name == "curation_assets"


def test_a_command_with_nothing_to_do_leaves_no_run(project: Project) -> None:
    with project.instance() as instance:
        before = instance.get_run_ids()
        code, output = project.run("run", "--pool", "emoji")
        assert (code, instance.get_run_ids()) == (0, before), output


def test_a_failed_wave_makes_the_parent_red_with_its_message(project: Project) -> None:
    project.write_pool(TOO_LARGE)
    code, output = project.run("run", "--pool", "emoji")
    assert code == 1
    message = "emoji__selection failed: targets.small.size is 10,000"
    assert message in output
    with project.instance() as instance:
        parent, _ = parents_of(instance)
        assert parent.status == dg.DagsterRunStatus.FAILURE
        assert any(line.startswith(message) for line in told(instance, parent))


def test_the_job_runs_the_waves_below_its_own_run(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.write_pool(OTHER_SIZE)
    monkeypatch.setattr("curation_assets.defs.curate.PATIENCE_SECONDS", 0.0)
    with environment_of(project.environment), project.instance() as instance:
        job = build_definitions([project.spec], project.home).resolve_job_def("emoji_curate")
        with only_runner(project.home, "emoji", "a test"):
            busy = job.execute_in_process(instance=instance, run_config=QUIET, raise_on_error=False)
        assert not busy.success
        result = job.execute_in_process(instance=instance, run_config=QUIET)
        parent = instance.get_run_by_id(result.run_id)
        assert parent is not None
        names = [run.tags[WAVE_TAG] for run in waves_of(instance, parent)]
        assert names[0] == "1: probe … comparison"
        lines = told(instance, parent)
    assert any("target small: 21 of 72 samples" in line for line in lines), (
        "its end is that of the command line"
    )


def test_no_wave_starts_below_a_cancelled_run(project: Project) -> None:
    project.write_pool(OTHER_SIZE)
    with environment_of(project.environment), project.instance() as instance:
        driver = Driver(project.home, project.spec, instance)
        definitions = build_definitions([project.spec], project.home)
        job = definitions.resolve_job_def("emoji_curate")
        parent = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
        runner = WaveRunner(driver, lambda: definitions, lambda line, style: None, parent=parent)
        instance.report_run_canceling(parent)
        with pytest.raises(dg.DagsterExecutionInterruptedError):
            runner.bring_up_to_date(None)
        assert not waves_of(instance, parent)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_command_that_is_told_to_end_closes_its_runs(project: Project, number: int) -> None:
    with project.instance() as instance:
        process = project.start("run", "--pool", "emoji", "--from", "level_1")
        deadline = time.monotonic() + 60
        while not instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]), limit=2)[1:]:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(number)
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 128 + number, output
        parent, _ = parents_of(instance)
        assert parent.status == dg.DagsterRunStatus.CANCELED, output
        assert all(run.is_finished for run in waves_of(instance, parent))
        storage = instance.event_log_storage
        assert not any(
            storage.get_concurrency_info(key).claimed_slots for key in storage.get_concurrency_keys()
        )
    assert "Finished work is kept" in output
    assert "Traceback" not in output


def test_a_wave_is_named_by_its_first_and_last_step() -> None:
    assert name_of(["tree"]) == "tree"
    assert (
        name_of(["level_2_initial", "level_2_resampled", "level_2_clusters"])
        == "level_2_initial … level_2_clusters"
    )
