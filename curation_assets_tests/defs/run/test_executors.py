"""The executor follows the environment; what dagster-ray does with it is tried in curation_assets_tests/cluster."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from curation_assets.defs.pool_definitions import build_definitions
from curation_assets.defs.run.dead_runs import process_tag
from curation_assets.defs.run.executors import chosen_executor, executor_name, steps_share_a_process
from curation_assets.defs.run.job_names import curate_job, ingest_job, whole_pool_job
from curation_assets.defs.run.step_run import StepRun
from curation_assets.errors import CurationError
from curation_assets.pools import load_pool_spec
from curation_assets.project import Home

REPOSITORY = Path(__file__).parents[3]


def executors() -> dict[str, str]:
    """Job -> name of its executor, of the emoji pool."""
    spec = load_pool_spec(REPOSITORY / "pools" / "emoji.yaml")
    home = Home(REPOSITORY, "memory://curated", REPOSITORY / "data" / "dagster")
    definitions = build_definitions([spec], home)
    jobs = (whole_pool_job("emoji"), ingest_job("emoji"), curate_job("emoji"))
    return {job: definitions.resolve_job_def(job).executor_def.name for job in jobs}


def test_without_a_word_steps_run_in_the_process_of_their_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CURATION_EXECUTOR", raising=False)
    assert chosen_executor() is dg.in_process_executor
    assert steps_share_a_process(chosen_executor())
    assert set(executors().values()) == {"in_process"}


def test_a_process_for_each_step_is_not_that_of_the_run() -> None:
    assert not steps_share_a_process(dg.multi_or_in_process_executor)
    assert not steps_share_a_process(dg.multiprocess_executor)


def test_a_process_that_ends_before_its_run_does_not_sign_it() -> None:
    written: list[dict[str, str]] = []
    instance = SimpleNamespace(has_run=lambda _: True, add_run_tags=lambda _, tags: written.append(tags))
    for executor in (dg.multiprocess_executor, dg.in_process_executor):
        context = SimpleNamespace(
            run=SimpleNamespace(run_id="r", tags={}),
            instance=instance,
            job_def=SimpleNamespace(executor_def=executor),
        )
        step: Any = SimpleNamespace(context=context)
        StepRun._sign(step)
    assert written == [process_tag()]


def test_ray_is_for_the_jobs_of_assets(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("dagster_ray")
    monkeypatch.setenv("CURATION_EXECUTOR", "ray")
    assert not steps_share_a_process(chosen_executor())
    assert executors() == {"emoji_all": "ray", "emoji_ingest_new_shards": "ray", "emoji_curate": "in_process"}


def test_secrets_are_not_handed_to_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    from curation_assets.defs.run.executors import _handed_on

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    monkeypatch.setenv("DAGSTER_POSTGRES_PASSWORD", "s")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "s")
    monkeypatch.setenv("CURATION_STORAGE", "s3://bucket/curated")
    names = _handed_on()
    assert "CURATION_STORAGE" in names
    assert not {"AWS_SECRET_ACCESS_KEY", "DAGSTER_POSTGRES_PASSWORD", "RAY_AUTH_TOKEN"} & set(names)


def test_another_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURATION_EXECUTOR", "dask")
    with pytest.raises(
        CurationError, match=r"CURATION_EXECUTOR: expected in_process \(the default\) or ray, got 'dask'"
    ):
        executor_name()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURATION_EXECUTOR", "ray")
    monkeypatch.setitem(sys.modules, "dagster_ray", None)
    with pytest.raises(CurationError, match=r"pip install 'curation-assets\[cluster\]'"):
        chosen_executor()
