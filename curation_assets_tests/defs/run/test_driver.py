"""Runs as the driver cuts them from a wave; what it plans is tried by the tests of the sensor and the command line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from curation_assets.defs.run.dead_runs import process_tag
from curation_assets.defs.run.driver import Driver, PlannedRun
from curation_assets.defs.run.tags import forced_of
from curation_assets.graph.freshness import Forced
from curation_assets.graph.waves import MOST_RUNS_OF_A_WAVE, Wave
from curation_assets.pools import PoolSpec
from curation_assets.project import Home
from curation_assets_tests.projects import SMALL_POOL

SHARDS = [f"{number:02}" for number in range(60)]


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    spec = PoolSpec.model_validate({"name": "p", **SMALL_POOL})
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("p_shards", SHARDS)
        yield Driver(Home(tmp_path, str(tmp_path), tmp_path), spec, instance)


def test_a_block_is_a_run_with_the_reason_of_its_own_shards(driver: Driver) -> None:
    reasons = {"00": "not made yet", "01": "not made yet", "05": "input source changed"}
    wave = Wave({"raw_pool": reasons, "embeddings": {}}, True)
    steps = ["raw_pool", "embeddings"]
    assert list(driver.runs(wave)) == [
        PlannedRun(steps, ("00", "01"), "not made yet (2)"),
        PlannedRun(steps, ("05", "05"), "input source changed (1)"),
    ]
    assert [run.block for run in driver.runs(wave, {"01"})] == [("01", "01")]
    tree = Wave({"tree": {None: "not made yet"}}, False)
    assert list(driver.runs(tree)) == [PlannedRun(["tree"], None, "not made yet")]


def test_blocks_are_joined_unless_that_would_rebuild_the_shards_between_them(driver: Driver) -> None:
    wave = Wave({"raw_pool": dict.fromkeys(SHARDS[::2], "not made yet")}, True)
    assert len(list(driver.runs(wave))) == MOST_RUNS_OF_A_WAVE
    driver.forced = Forced(frozenset({"raw_pool"}), "2026")
    assert len(list(driver.runs(wave))) == len(SHARDS) // 2


def test_tags_say_why_a_run_is_there_and_who_executes_it(driver: Driver) -> None:
    driver.forced = Forced(frozenset({"tree", "drift"}), "2026")
    tags = driver.tags(
        PlannedRun(["tree"], ("00", "05"), "x" * 600), in_this_process=True, parent="id", wave="2: tree"
    )
    assert tags == {
        "curation/pool": "p",
        "curation/reason": "x" * 500,
        "curation/again": "2026 drift tree",
        "dagster/asset_partition_range_start": "00",
        "dagster/asset_partition_range_end": "05",
        "curation/parent": "id",
        "curation/wave": "2: tree",
        **process_tag(),
    }
    assert forced_of(tags) == driver.forced
    driver.forced = None
    assert set(driver.tags(PlannedRun([], None, "why"), in_this_process=False)) == {
        "curation/pool",
        "curation/reason",
    }
