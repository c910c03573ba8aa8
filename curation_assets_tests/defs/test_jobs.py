"""Jobs and schedules: names for what people do, and what they hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from curation_assets.defs.jobs import build_jobs
from curation_assets.defs.pool_definitions import build_definitions
from curation_assets.defs.run.tags import FORCED_TAG, forced_of
from curation_assets.demo.openmoji import write_openmoji_pool
from curation_assets.project import Home
from curation_assets_tests.projects import SMALL_POOL, Project, copy_project, spec_of


def definitions(tmp_path: Path, **changes: Any) -> dg.Definitions:
    spec = spec_of(**changes)
    return build_definitions([spec], Home(tmp_path, str(tmp_path / "curated"), tmp_path / "dagster"))


def assets_of(defs: dg.Definitions, job: str) -> set[str]:
    keys = defs.resolve_job_def(job).asset_layer.executable_asset_keys
    return {key.path[-1] for key in keys}


def test_jobs_hold_what_their_names_say(tmp_path: Path) -> None:
    defs = definitions(tmp_path)
    assigns = {f"level_{level}_assign" for level in (1, 2, 3)}
    assert assets_of(defs, "p_ingest_new_shards") == {"raw_pool", "embeddings", *assigns}
    outputs = {
        "selection", "ledger", "balanced_dataset", "dataset_release", "comparison", "atlas",
        "curation_report",
    }  # fmt: skip
    assert assets_of(defs, "p_resample_targets") == outputs
    assert assets_of(defs, "p_recluster_from_level_3") == {
        "level_3_clusters", "level_3_assign", "tree", "drift", "probe", "frontier", *outputs,
    }  # fmt: skip
    assert "raw_pool" not in assets_of(defs, "p_recluster_from_level_1")
    assert len(assets_of(defs, "p_all")) == 23
    recluster = defs.resolve_job_def("p_recluster_from_level_3")
    forced = forced_of({**recluster.tags, **recluster.run_tags}, 1.0)
    assert forced is not None
    assert {"level_3_clusters", "selection"} <= forced.steps
    assert not {"ledger", "balanced_dataset", "level_2_clusters"} & forced.steps
    assert forced.since == "1970-01-01T00:00:01.000000+00:00"


def test_heavy_steps_share_a_pool_and_storage_errors_are_retried(tmp_path: Path) -> None:
    graph = {
        node.name: node
        for job in [definitions(tmp_path).resolve_job_def("p_all")]
        for node in job.all_node_defs
        if isinstance(node, dg.OpDefinition)
    }
    pools = {name.removeprefix("p__"): op.pool for name, op in graph.items() if op.pool}
    assert {pools[name] for name in ("embeddings", "level_1_initial", "level_3_clusters")} == {"gpu"}
    assert pools["selection"] == "memory"
    assert "raw_pool" not in pools
    assert graph["p__raw_pool"].retry_policy is not None


def test_the_nightly_schedule_is_off_and_a_refit_schedule_is_there_when_asked_for(tmp_path: Path) -> None:
    repository = definitions(tmp_path).get_repository_def()
    assert [schedule.name for schedule in repository.schedule_defs] == ["p_nightly"]
    nightly = repository.get_schedule_def("p_nightly")
    assert nightly.default_status == dg.DefaultScheduleStatus.STOPPED
    assert nightly.job_name == "p_curate"
    weekly = definitions(tmp_path, refit={"schedule": "0 3 * * 0"}).get_repository_def()
    assert weekly.get_schedule_def("p_refit").cron_schedule == "0 3 * * 0"
    assert [sensor.name for sensor in repository.sensor_defs] == ["p_arrivals"]
    assert repository.sensor_defs[0].default_status == dg.DefaultSensorStatus.STOPPED


def test_a_cron_expression_has_five_fields() -> None:
    with pytest.raises(ValueError, match="five fields"):
        spec_of(refit={"schedule": "daily"})


def test_curate_and_a_scheduled_refit_do_the_whole_work(
    finished: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = copy_project(finished, tmp_path / "project")
    project.write_pool({**SMALL_POOL, "refit": {"new_rows": 0.9, "schedule": "0 3 * * 0"}})
    for name, value in project.environment.items():
        monkeypatch.setenv(name, value)
    # The twelve drawings after those of the project.
    write_openmoji_pool(tmp_path / "more", samples_per_shard=12, limit=84)
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    with project.instance() as instance:
        defs = build_definitions([project.spec], project.home)
        curate = defs.resolve_job_def("emoji_curate")
        refit = defs.get_repository_def().get_schedule_def("emoji_refit")
        skipped = refit.evaluate_tick(dg.build_schedule_context(instance=instance))
        assert skipped.skip_message == "no rows were added or removed since the last fit"
        version = project.storage.output("tree").require_facts().summary["tree_version"]
        (tmp_path / "more" / "00006.tar").rename(project.folder / "data" / "raw" / "emoji" / "late.tar")
        assert curate.execute_in_process(instance=instance, run_config=quiet).success
        assert project.storage.output("tree").require_facts().summary["tree_version"] == version
        ledger = project.storage.output("ledger", "late").require_facts()
        [request] = refit.evaluate_tick(dg.build_schedule_context(instance=instance)).run_requests or ()
        recluster = defs.resolve_job_def("emoji_recluster_from_level_1")
        result = recluster.execute_in_process(
            instance=instance,
            tags={**request.tags, **recluster.run_tags},
            run_config=quiet,
            raise_on_error=False,
        )
        assert result.success
        tree = project.storage.output("tree").require_facts().summary
        assert (tree["tree_version"] != version, tree["previous_version"]) == (True, version)
        fit_rows = project.storage.fit_rows()
        assert fit_rows is not None
        assert "late" in fit_rows.shards
        assert ledger.summary["n_rows"] == 12
        # The same bytes again: what a run makes again is decided by when it was created.
        before = project.storage.output("level_1_initial").require_facts().made_at
        again = recluster.execute_in_process(
            instance=instance, tags={**request.tags, **recluster.run_tags}, run_config=quiet
        )
        assert again.success
        assert project.storage.output("level_1_initial").require_facts().made_at > before


def test_every_pool_has_its_own(tmp_path: Path) -> None:
    spec = spec_of()
    names = [job.name for job in build_jobs(spec, Home(tmp_path, str(tmp_path), tmp_path), build_definitions)]
    assert all(name.startswith("p_") for name in names)
    assert len(names) == len(set(names))
    assert FORCED_TAG.startswith("curation/")
