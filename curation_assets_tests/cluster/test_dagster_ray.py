"""Runs and steps as jobs of a real Ray, through dagster-ray: the launcher, the executor, the token."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml

from curation_assets.defs.run.dead_runs import PROCESS_TAG
from curation_assets.defs.run.job_names import ingest_job
from curation_assets_tests.cluster.ray_head import RayHead, ray_head, status_of
from curation_assets_tests.projects import Project, make_project, materialized

pytestmark = pytest.mark.cluster
SHARDS = ["00000", "00001"]
RANGE = f'{{"dagster/asset_partition_range_start": "{SHARDS[0]}", "dagster/asset_partition_range_end": "{SHARDS[1]}"}}'


@pytest.fixture(scope="module")
def head() -> Iterator[RayHead]:
    pytest.importorskip("dagster_ray", reason="needs the extra `cluster`")
    with ray_head() as running:
        yield running


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Two shards that are listed and read, but not embedded."""
    project = make_project(tmp_path_factory.mktemp("cluster"), n_images=30, samples_per_shard=15)
    (project.folder / "workspace.yaml").write_text(
        "load_from:\n- python_module: {module_name: curation_assets.definitions, location_name: curation_assets}\n"
    )
    code, output = project.run("backfill", "--pool", "emoji", "--from", "raw_pool", "--to", "raw_pool")
    assert code == 0, output
    return project


def dagster(project: Project, head: RayHead, *command: str, **more: str) -> str:
    """Output of one of Dagster's commands in the project, with the cluster at hand."""
    done = subprocess.run(
        [str(Path(sys.executable).parent / command[0]), *command[1:]],
        env={**os.environ, **project.environment, **head.environment, **more},
        cwd=project.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_the_head_listens_on_loopback_only_and_asks_for_the_token(head: RayHead) -> None:
    loopback = {"0100007F", "0" * 24 + "01000000", "0000000000000000FFFF00000100007F"}
    listening = head.listens_on()
    assert listening
    assert listening <= loopback
    url = f"{head.jobs_address}/api/jobs/"
    assert status_of(url, None) == 401
    assert status_of(url, "a wrong token") in (401, 403)
    assert status_of(url, head.environment["RAY_AUTH_TOKEN"]) == 200


def test_every_step_is_a_ray_job_with_the_executor(project: Project, head: RayHead) -> None:
    select = 'key:"emoji/raw_pool" or key:"emoji/embeddings"'
    dagster(
        project, head, "dagster", "asset", "materialize", "-m", "curation_assets.definitions", "--select", select,
        "--partition-range", f"{SHARDS[0]}...{SHARDS[1]}", CURATION_EXECUTOR="ray",
    )  # fmt: skip
    with project.instance() as instance:
        run = instance.get_runs(limit=1)[0]
        assert run.status is dg.DagsterRunStatus.SUCCESS
        assert PROCESS_TAG not in run.tags, "a step's process says nothing of its run"
        told = [str(log.message) for log in instance.all_logs(run.run_id)]
        assert sum("in Ray job dagster-step-" in line for line in told) >= 2
        assert materialized(instance, [run.run_id]) == {
            (asset, shard) for asset in ("raw_pool", "embeddings") for shard in SHARDS
        }
    assert set(project.storage.shard_facts("embeddings")) == set(SHARDS)


@pytest.mark.parametrize("executor", ["in_process", "ray"])
def test_a_run_is_a_ray_job_with_the_launcher(project: Project, head: RayHead, executor: str) -> None:
    # There is no tree, and the ingest job makes none: its run ends at level 1, and the cluster's answer is seen.
    config = project.home.dagster_state / "dagster.yaml"
    settings = yaml.safe_load(config.read_text())
    handed_on = ["PATH", "PYTHONPATH", *project.environment, f"CURATION_EXECUTOR={executor}"]
    settings["run_launcher"] = {
        "module": "dagster_ray",
        "class": "RayRunLauncher",
        "config": {"ray": {"address": head.jobs_address, "env_vars": handed_on}},
    }
    # Without the daemon nobody takes runs from a queue.
    settings["run_coordinator"] = {
        "module": "dagster._core.run_coordinator",
        "class": "DefaultRunCoordinator",
    }
    settings.pop("concurrency", None)
    config.write_text(yaml.safe_dump(settings))
    dagster(
        project, head, "dagster", "job", "launch", "-w", "workspace.yaml", "-j", ingest_job("emoji"), "--tags", RANGE,
        CURATION_EXECUTOR=executor,
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        for name, value in head.environment.items():
            patch.setenv(name, value)
        with project.instance() as instance:
            run = instance.get_runs(limit=1)[0]
            status = wait_for_end(instance, run.run_id)
            told = [str(log.message) for log in instance.all_logs(run.run_id)]
            assert any("Ray run job created" in line for line in told)
            assert materialized(instance, [run.run_id]) >= {("embeddings", shard) for shard in SHARDS}
            assert status is dg.DagsterRunStatus.FAILURE
            failures = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
            assert any("in Ray job dagster-step-" in line for line in told) == (executor == "ray")
            assert "emoji__level_1_assign" in {event.step_key for event in failures}


def wait_for_end(
    instance: dg.DagsterInstance, run_id: str, seconds: float = 120.0
) -> dg.DagsterRunStatus | None:
    """Status of a run that has ended."""
    deadline = time.monotonic() + seconds
    while True:
        run = instance.get_run_by_id(run_id)
        if run is not None and run.is_finished:
            return run.status
        assert time.monotonic() < deadline, run
        time.sleep(0.5)
