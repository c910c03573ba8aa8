"""Materializing raw_pool by hand looks at the files first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

from curation_assets.defs.pool_definitions import build_definitions
from curation_assets.defs.run.driver import Driver
from curation_assets.defs.run.tags import PARENT_TAG, RANGE_END_TAG, RANGE_START_TAG, REASON_TAG, is_planned
from curation_assets.storage.shards import Shard
from curation_assets.storage.tables import RawPool
from curation_assets_tests.projects import Project, make_project


@dataclass
class ByHand:
    """A project of three shards, listed once, whose raw_pool a test materializes as a click would."""

    project: Project
    instance: dg.DagsterInstance

    def tar(self, key: str) -> Path:
        return self.project.folder / "data" / "raw" / "emoji" / f"{key}.tar"

    def materialize(self, first: str, last: str, **tags: str) -> dg.ExecuteInProcessResult:
        definitions = build_definitions([self.project.spec], self.project.home)
        return definitions.resolve_job_def("emoji_all").execute_in_process(
            instance=self.instance,
            asset_selection=[dg.AssetKey(["emoji", "raw_pool"])],
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            tags={RANGE_START_TAG: first, RANGE_END_TAG: last, **tags},
            raise_on_error=False,
        )

    def failure(self, result: dg.ExecuteInProcessResult) -> str:
        [event] = [event for event in result.all_events if event.is_step_failure]
        data = event.step_failure_data.user_failure_data
        assert data is not None
        return str(data.description)

    def check(self, name: str) -> dg.AssetCheckEvaluation:
        """The last evaluation of a check of raw_pool."""
        key = dg.AssetCheckKey(dg.AssetKey(["emoji", "raw_pool"]), name)
        [record] = self.instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
        assert record.evaluation is not None
        return record.evaluation

    def set_aside(self) -> dict[str, str]:
        return {shard.key: shard.set_aside for shard in self.project.storage.all_shards() if shard.set_aside}


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[ByHand]:
    project = make_project(tmp_path, n_images=18, samples_per_shard=6)
    with dg.DagsterInstance.ephemeral() as instance:
        driver = Driver(project.home, project.spec, instance)
        driver.sync_shards(driver.list_files())
        made = ByHand(project, instance)
        assert made.materialize("00000", "00002").success
        yield made


def test_a_file_that_changed_is_read_again(pool: ByHand) -> None:
    whole = pool.tar("00001").read_bytes()
    pool.tar("00001").write_bytes(whole[: len(whole) // 2])
    assert pool.materialize("00000", "00002").success
    rejections = pool.project.storage.raw_pool("00001").require_facts().summary["rejections"]
    assert "truncated_file" in rejections
    check = pool.check("files_are_readable")
    assert not check.passed
    assert "1 file is damaged or empty: 00001.tar (truncated_file: " in str(check.description)
    pool.tar("00001").write_bytes(whole)
    assert pool.materialize("00001", "00001").success
    assert pool.project.storage.raw_pool("00001").require_facts().summary["rejections"] == {}
    assert pool.check("files_are_readable").passed


def test_random_bytes_are_red(pool: ByHand) -> None:
    pool.tar("00001").write_bytes(bytes(range(256)) * 40)
    assert pool.materialize("00001", "00001").success
    assert "unreadable_file" in str(pool.check("files_are_readable").description)
    check = pool.check("rejections_are_few")
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert "1 of 3 shards have more rejected samples" in str(check.description)
    assert "00001 (100%; unreadable_file: 1)" in str(check.description)


def test_a_shard_without_files_fails_by_name_and_the_others_are_kept(pool: ByHand) -> None:
    pool.tar("00001").unlink()
    pool.tar("00002").write_bytes(pool.tar("00000").read_bytes())
    result = pool.materialize("00000", "00002")
    assert not result.success
    words = pool.failure(result)
    assert "1 of 3 shards failed" in words
    assert "shard '00001': none of its files is left (00001.tar): put them back, or" in words
    assert "emoji_curate" in words
    ids = pool.project.storage.raw_pool("00002").samples.column("sample_id")
    assert ids.equals(pool.project.storage.raw_pool("00000").samples.column("sample_id"))


def test_files_of_other_shards_are_recorded_but_new_ones_wait(pool: ByHand) -> None:
    pool.tar("00001").write_bytes(pool.tar("00000").read_bytes())
    pool.tar("00003").write_bytes(pool.tar("00000").read_bytes())
    assert pool.materialize("00002", "00002").success
    driver = Driver(pool.project.home, pool.project.spec, pool.instance)
    assert list(driver.freshness().shards) == ["00000", "00001", "00002"]
    assert driver.freshness().reason(RawPool.asset, "00001") == "input source changed"
    assert driver.freshness().reason(RawPool.asset, "00002") is None


def test_a_shard_that_was_set_aside_takes_part_when_it_is_read_by_hand(pool: ByHand) -> None:
    shards = pool.project.storage.all_shards()
    aside = [Shard(shard.key, shard.files, "failed once") for shard in shards[:2]]
    pool.project.storage.save_shards([*aside, shards[2]])
    assert pool.materialize("00000", "00000").success
    assert pool.set_aside() == {"00001": "failed once"}


def test_a_folder_that_is_gone_is_red(pool: ByHand) -> None:
    pool.tar("00000").parent.rename(pool.project.folder / "elsewhere")
    assert "is not a folder" in pool.failure(pool.materialize("00000", "00002"))


def test_a_run_that_the_driver_planned_does_not_list_again_unless_it_is_re_executed(pool: ByHand) -> None:
    pool.tar("00001").unlink()
    assert pool.materialize("00000", "00002", **{REASON_TAG: "not made yet"}).success
    assert is_planned({REASON_TAG: "not made yet"})
    assert not is_planned({REASON_TAG: "not made yet", PARENT_TAG: "another run"})
    assert not is_planned({})
