"""The example of a code location: its asset follows each release, and its alert tells of curations only."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import dagster as dg
import polars as pl
import pytest

from curation_assets.defs.run.tags import PARENT_RUN_TAG, POOL_TAG
from curation_assets_tests.projects import Project, copy_project

EXAMPLE = Path(__file__).parents[2] / "deploy" / "examples" / "definitions.py"
GROUPS, RELEASE = dg.AssetKey("groups"), dg.AssetKey(["emoji", "dataset_release"])


@pytest.fixture
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("example", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_asset_follows_each_release(
    example: ModuleType, finished: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = copy_project(finished, tmp_path / "project")
    for name, value in project.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(example, "TARGET", "small")
    definitions = example.defs()
    with project.instance() as instance:
        first = dg.evaluate_automation_conditions(defs=definitions, instance=instance)
        assert first.get_num_requested(GROUPS) == 0, "the release was there before"
        job = definitions.resolve_implicit_global_asset_job_def()
        instance.report_runless_asset_event(dg.AssetMaterialization(RELEASE))
        second = dg.evaluate_automation_conditions(defs=definitions, instance=instance, cursor=first.cursor)
        assert second.get_num_requested(GROUPS) == 1
        assert job.execute_in_process(instance=instance, asset_selection=[GROUPS]).success
        manager = dg.FilesystemIOManager(base_dir=str(project.folder / "data" / "mine"))
        with dg.build_input_context(
            asset_key=GROUPS, upstream_output=dg.build_output_context(asset_key=GROUPS)
        ) as asked:
            stored = manager.create_io_manager(dg.build_init_resource_context()).load_input(asked)
    assert isinstance(stored, pl.DataFrame)
    assert stored["len"].sum() == 20


@pytest.mark.parametrize(
    ("tags", "told"),
    [
        ({POOL_TAG: "web"}, ["The curation of web failed: no space left"]),
        ({POOL_TAG: "web", PARENT_RUN_TAG: "a"}, []),
        ({}, []),
    ],
)
def test_the_alert_tells_of_a_curation_once(
    example: ModuleType, monkeypatch: pytest.MonkeyPatch, tags: dict[str, str], told: list[str]
) -> None:
    @dg.op
    def work() -> None:
        raise ValueError("no space left")

    @dg.job
    def curate() -> None:
        work()

    lines: list[str] = []
    monkeypatch.setattr(example, "tell", lines.append)
    with dg.DagsterInstance.ephemeral() as instance:
        run = curate.execute_in_process(instance=instance, tags=tags, raise_on_error=False).dagster_run
        event = dg.DagsterEvent(
            event_type_value=dg.DagsterEventType.PIPELINE_FAILURE.value,
            job_name="curate",
            message="no space left",
        )
        context = dg.build_run_status_sensor_context(
            "curation_failed", dagster_event=event, dagster_instance=instance, dagster_run=run
        )
        example.curation_failed(context.for_run_failure())
    assert lines == told
