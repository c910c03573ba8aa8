"""The Dagster graph: names, lanes, partitions, versions, and pools side by side."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from curation_assets.defs.io_managers import IO_MANAGER_KEY, HandleIOManager
from curation_assets.defs.pool_definitions import build_definitions
from curation_assets.defs.run.driver import Driver
from curation_assets.pools import PoolSpec
from curation_assets.project import Home
from curation_assets_tests.projects import SMALL_POOL, Project, make_project, spec_of


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path, str(tmp_path / "curated"), tmp_path / "dagster")


def test_two_pools_stand_side_by_side(home: Home) -> None:
    four_levels = [{"n_clusters": k} for k in (16, 8, 4, 2)]
    definitions = build_definitions([spec_of(name="one", levels=four_levels), spec_of(name="two")], home)
    graph = definitions.resolve_asset_graph()
    names = {tuple(key.path) for key in graph.get_all_asset_keys()}
    assert {pool for pool, _ in names} == {"one", "two"}
    assert len([name for pool, name in names if pool == "one"]) == 13 + 4 * 4 - 2
    assert len([name for pool, name in names if pool == "two"]) == 13 + 4 * 3 - 2
    dg.Definitions.validate_loadable(definitions)


def test_a_pool_without_an_atlas_has_no_such_asset(home: Home) -> None:
    graph = build_definitions([spec_of(name="one", atlas=None)], home).resolve_asset_graph()
    names = {key.path[-1] for key in graph.get_all_asset_keys()}
    assert "atlas" not in names
    assert "curation_report" in names


def test_a_deduplicated_pool_is_cleaned_before_it_is_clustered(home: Home) -> None:
    graph = build_definitions([spec_of(name="one", deduplication={})], home).resolve_asset_graph()
    node = graph.get(dg.AssetKey(["one", "duplicates"]))
    assert node.group_name == "one_1_ingest"
    assert not node.is_partitioned
    assert {key.path[-1] for key in node.parent_keys} == {"embeddings"}
    assert {key.path[-1] for key in node.child_keys} >= {"admitted"}


def test_names_fit_the_graph_view_and_lanes_are_ordered(home: Home) -> None:
    graph = build_definitions([spec_of(name="one")], home).resolve_asset_graph()
    lanes = {"one_1_ingest", "one_2_hierarchy", "one_3_balance", "one_4_report"}
    assert {graph.get(key).group_name for key in graph.get_all_asset_keys()} == lanes
    for key in graph.get_all_asset_keys():
        assert len(key.path[-1]) <= 17
        assert graph.get(key).description


def test_what_holds_rows_of_the_pool_is_partitioned(home: Home) -> None:
    graph = build_definitions([spec_of(name="one")], home).resolve_asset_graph()
    partitioned = {key.path[-1] for key in graph.get_all_asset_keys() if graph.get(key).is_partitioned}
    levels = {f"level_{level}_assign" for level in (1, 2, 3)}
    assert partitioned == {"raw_pool", "embeddings", "ledger", "balanced_dataset", *levels}
    for key in graph.get_all_asset_keys():
        assert graph.get(key).backfill_policy == dg.BackfillPolicy.single_run()


def test_code_versions_follow_the_settings_that_matter(home: Home) -> None:
    def versions(spec: PoolSpec) -> dict[str, str | None]:
        graph = build_definitions([spec], home).resolve_asset_graph()
        return {key.path[-1]: graph.get(key).code_version for key in graph.get_all_asset_keys()}

    before = versions(spec_of(name="one"))
    faster = versions(spec_of(name="one", encoder={"kind": "bundled", "batch_size": 99}))
    assert faster == before
    levels = [SMALL_POOL["levels"][0], {"n_clusters": 7, "resampling_steps": 2}, SMALL_POOL["levels"][2]]
    after = versions(spec_of(name="one", levels=levels))
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"level_2_initial", "level_2_resampled", "level_2_clusters"}


def test_importing_the_code_location_is_light(tmp_path: Path) -> None:
    code = (
        "import sys, curation_assets.definitions as d; d.defs(); "
        "heavy = ('torch', 'faiss', 'timm', 'open_clip', 'sentence_transformers', 'ray', 'matplotlib', 'sklearn'); "
        "print([name for name in heavy if name in sys.modules])"
    )
    Project(tmp_path).write_pool(SMALL_POOL)
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={"CURATION_HOME": str(tmp_path)},
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_assets_materialize_by_hand_and_skip_what_is_fresh(tmp_path: Path) -> None:
    project = make_project(tmp_path, n_images=24, samples_per_shard=12)
    from curation_assets.defs.partitions import sync_partitions
    from curation_assets.formats import build_reader
    from curation_assets.storage.shards import group_files

    spec = project.spec
    shards = group_files(build_reader(spec.source, project.folder).list_files(), 1)
    project.storage.save_shards(shards)
    definitions = build_definitions([spec], project.home)
    raw_pool = definitions.get_assets_def(dg.AssetKey(["emoji", "raw_pool"]))
    with dg.DagsterInstance.ephemeral() as instance:
        assert sync_partitions(instance, spec, shards) == (2, 0)
        for _ in range(2):
            result = dg.materialize(
                [raw_pool], instance=instance, resources=definitions.resources, partition_key="00001"
            )
            assert result.success
        modified = Path(str(project.storage.output("raw_pool", "00001").path("parquet"))).stat().st_mtime_ns
        [event] = result.asset_materializations_for_node("emoji__raw_pool")
        assert event.partition == "00001"
        assert event.metadata["n_accepted"].value == 12
        assert (
            Path(str(project.storage.output("raw_pool", "00001").path("parquet"))).stat().st_mtime_ns
            == modified
        )
        assert project.storage.output("raw_pool", "00000").facts() is None
        assert sync_partitions(instance, spec, shards[:1]) == (0, 1)


def test_a_downstream_asset_of_ones_own_gets_handles(tmp_path: Path) -> None:
    project = make_project(tmp_path, n_images=24, samples_per_shard=12)
    partitions = dg.DynamicPartitionsDefinition(name="emoji_shards")
    seen: dict[str, object] = {}

    @dg.asset(ins={"raw": dg.AssetIn(key=["emoji", "raw_pool"])})
    def mine(raw: dict) -> None:  # type: ignore[type-arg]
        seen.update(raw)

    upstream = dg.AssetSpec(["emoji", "raw_pool"], partitions_def=partitions)
    manager = HandleIOManager(storage_root=project.home.storage_root)
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("emoji_shards", ["00000"])
        assert dg.materialize([mine, upstream], instance=instance, resources={"io_manager": manager}).success
    assert list(seen) == ["00000"]

    @dg.asset
    def careless() -> list[int]:
        return [1]

    with pytest.raises(TypeError, match="write their own files"):
        dg.materialize([careless], resources={"io_manager": manager})


def test_the_configuration_of_a_run_cannot_name_other_folders(tmp_path: Path) -> None:
    project = make_project(tmp_path / "mine", n_images=24, samples_per_shard=24)
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "emoji").mkdir(parents=True)
    spec = project.spec
    folders = {"config": {"storage_root": str(elsewhere), "home_folder": str(elsewhere)}}
    with dg.DagsterInstance.ephemeral() as instance:
        driver = Driver(project.home, spec, instance)
        driver.sync_shards(driver.list_files())
        job = build_definitions([spec], project.home).resolve_job_def("emoji_all")
        result = job.execute_in_process(
            run_config={"resources": {IO_MANAGER_KEY: folders}},
            instance=instance,
            asset_selection=[dg.AssetKey(["emoji", "raw_pool"])],
            partition_key="00000",
        )
    assert result.success
    assert project.storage.output("raw_pool", "00000").facts() is not None
    assert list((elsewhere / "emoji").iterdir()) == []
