"""Pools in somebody's project: merged, both run, and nothing of theirs changes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import dagster as dg
import pytest

from curation_assets.defs import curate
from curation_assets.defs.io_managers import IO_MANAGER_KEY, HandleIOManager
from curation_assets.defs.pool_definitions import build_definitions
from curation_assets.defs.run.driver import Driver
from curation_assets.defs.run.tags import POOL_TAG
from curation_assets.project import is_in_folder
from curation_assets_tests.defs import their_project
from curation_assets_tests.defs.their_project import SHELF, USED, merged, prefixed, theirs
from curation_assets_tests.projects import SMALL_POOL, Project, copy_project, environment_of


@pytest.fixture(scope="module")
def project(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return copy_project(finished, tmp_path_factory.mktemp("theirs") / "project")


def execute(
    project: Project, job: str, assets: Sequence[dg.AssetKey] = (), **options: object
) -> dg.DagsterRun:
    """Execute a job as a run's process does: with its own executor."""
    found = dg.build_reconstructable_job(
        their_project.__name__, "job_of", reconstructable_args=(str(project.folder), job)
    )
    with environment_of(project.environment), project.instance() as instance:
        result = dg.execute_job(
            found, instance, asset_selection=list(assets) or None, raise_on_error=True, **options
        )  # type: ignore[arg-type]
        run = instance.get_run_by_id(result.run_id)
    assert run is not None
    return run


def test_merging_changes_nothing_of_theirs(project: Project) -> None:
    definitions, alone = merged(project), theirs()
    assert set(definitions.resources or {}) == {*(alone.resources or {}), IO_MANAGER_KEY}
    assert definitions.executor is their_project.their_executor
    for name in ("words", "training"):
        key = dg.AssetKey(name)
        was, now = alone.get_assets_def(key), definitions.get_assets_def(key)
        assert (was.get_io_manager_key_for_asset_key(key), now.get_io_manager_key_for_asset_key(key)) == (
            "io_manager",
            "io_manager",
        )
        assert was.specs_by_key[key] == now.specs_by_key[key]
    assert definitions.resolve_job_def("their_job").executor_def is their_project.their_executor
    assert definitions.resolve_job_def("emoji_all").executor_def is dg.in_process_executor


def test_pools_take_no_default_of_a_location(project: Project) -> None:
    pools = build_definitions([project.spec], project.home)
    assert pools.executor is None
    assert not pools.loggers
    assert set(pools.resources or {}) == {IO_MANAGER_KEY}


def test_theirs_run_with_their_executor_and_io_manager(project: Project) -> None:
    USED.clear()
    run = execute(project, "their_job")
    assert run.status == dg.DagsterRunStatus.SUCCESS
    assert POOL_TAG not in run.tags
    assert USED == ["executor", "io_manager: words", "io_manager: training"]
    got = SHELF.values["training"]
    assert got["words"] == ["theirs"]
    assert got["targets"] == ["small", "typical"]
    assert len(got["rows"]) == 20
    assert (got["path"] / "README.md").exists()


def test_a_merged_pool_runs_below_its_prefix(project: Project) -> None:
    spec = prefixed(project, "other")
    key = dg.AssetKey(["ml", "other", "raw_pool"])
    with project.instance() as instance:
        driver = Driver(project.home, spec, instance)
        driver.sync_shards(driver.list_files())
        assert driver.ordered_shards() == instance.get_dynamic_partitions("ml_other_shards") != []
    tags = {"dagster/asset_partition_range_start": "00000", "dagster/asset_partition_range_end": "00001"}
    USED.clear()
    run = execute(project, "other_ingest_new_shards", [key], tags=tags)
    assert run.status == dg.DagsterRunStatus.SUCCESS
    assert run.tags[POOL_TAG] == "ml/other"
    assert USED == []
    assert project.home.storage("other").output("raw_pool", "00001").facts() is not None
    with project.instance() as instance:
        assert instance.get_latest_materialization_event(key) is not None


def test_names_follow_the_settings_of_the_pool(project: Project) -> None:
    specs = {spec.key: spec for spec in merged(project).resolve_all_asset_specs()}
    selection = specs[dg.AssetKey(["ml", "emoji", "selection"])]
    assert (selection.group_name, list(selection.owners), selection.tags["a"]) == (
        "curation",
        ["team:data"],
        "b",
    )
    assert dg.AssetKey(["ml", "emoji", "tree"]) in {dep.asset_key for dep in selection.deps}
    plain = build_definitions([project.spec], project.home).resolve_all_asset_specs()
    assert {spec.key.path[0] for spec in plain} == {"emoji"}
    assert {spec.group_name for spec in plain} == {
        "emoji_1_ingest", "emoji_2_hierarchy", "emoji_3_balance", "emoji_4_report",
    }  # fmt: skip


def test_a_prefix_puts_nothing_out_of_date(project: Project) -> None:
    keys = {
        spec.key.path[-1]: spec.code_version
        for spec in merged(project).resolve_all_asset_specs()
        if spec.code_version
    }
    plain = build_definitions([project.spec], project.home).resolve_all_asset_specs()
    assert {spec.key.path[-1]: spec.code_version for spec in plain} == keys


def test_pools_of_two_storage_roots_have_two_keys(project: Project, tmp_path: Path) -> None:
    other = Project(tmp_path)
    other.write_pool(SMALL_POOL)
    with pytest.raises(dg.DagsterInvariantViolationError, match=IO_MANAGER_KEY):
        merged(project, other)
    pools = build_definitions([prefixed(project, "b")], other.home, io_manager_key="other_io_manager")
    both = dg.Definitions.merge(build_definitions([prefixed(project, "a")], project.home), pools)
    assert set(both.resources or {}) == {IO_MANAGER_KEY, "other_io_manager"}
    both.resolve_asset_graph()


def test_another_code_location_gets_the_release_too(project: Project) -> None:
    seen: list[object] = []

    @dg.asset(ins={"release": dg.AssetIn(key=["ml", "emoji", "dataset_release"])})
    def elsewhere(release: object) -> None:
        seen.append(release)

    upstream = dg.AssetSpec(["ml", "emoji", "dataset_release"]).with_io_manager_key("any_key")
    manager = HandleIOManager(storage_root=project.home.storage_root)
    with dg.DagsterInstance.ephemeral() as instance:
        assert dg.materialize(
            [elsewhere, upstream], instance=instance, resources={"any_key": manager}
        ).success
    assert [type(release).__name__ for release in seen] == ["Release"]


def test_a_pool_that_is_declared_in_code_is_curated_as_it_is(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    curated: list[object] = []
    monkeypatch.setattr(curate, "_work", lambda spec, *_: curated.append(spec))
    in_code, below_a_prefix = prefixed(project, "coded"), prefixed(project, "emoji")
    for spec in (in_code, below_a_prefix, project.spec):
        job = build_definitions([spec], project.home).resolve_job_def(f"{spec.name}_curate")
        with dg.DagsterInstance.ephemeral() as instance:
            assert job.execute_in_process(instance=instance).success
    assert curated == [in_code, below_a_prefix, project.spec]
    assert [is_in_folder(project.home, spec) for spec in (in_code, below_a_prefix, project.spec)] == [
        False,
        False,
        True,
    ]
