"""Which steps and shards a command means, and what is refused."""

from __future__ import annotations

import pytest

from curation_assets.cli.choice import (
    find_step,
    missing_shards,
    shards_named,
    steps_between,
    steps_of_shards,
)
from curation_assets.errors import PoolSpecError
from curation_assets.graph.freshness import Freshness
from curation_assets.graph.steps import pool_steps
from curation_assets_tests.projects import spec_of

STEPS = pool_steps(spec_of())
ASSIGN = ["level_1_assign", "level_2_assign", "level_3_assign"]


class _Standing(Freshness):
    """A pool whose tree stands (or does not): nothing else of Freshness is asked for here."""

    def __init__(self, *, stands: bool, made: dict[str, set[str]] | None = None) -> None:
        self.steps = STEPS
        self.shards = dict.fromkeys("ab")  # type: ignore[arg-type]
        self._stands, self._made = stands, made or {}

    def reason(self, name: str, shard: str | None) -> str | None:
        return None if self._stands else "not made yet"

    def facts(self, step: str, shard: str | None):  # type: ignore[no-untyped-def]
        return True if shard in self._made.get(step, set()) else None


def test_steps_by_name_or_level() -> None:
    assert find_step(STEPS, "--from", "level_2") == "level_2_initial"
    assert find_step(STEPS, "--from", "level_3") == "level_3_clusters", "a level without resampling"
    assert find_step(STEPS, "--to", "level_2", last=True) == "level_2_assign"
    with pytest.raises(
        PoolSpecError, match=r"--from level_9: no such step; there are: level_1, level_2, .*raw_pool"
    ):
        find_step(STEPS, "--from", "level_9")


def test_steps_between() -> None:
    assert steps_between(STEPS, "level_3_clusters", "level_3_assign") == [
        "level_3_clusters",
        "level_3_assign",
    ]
    with pytest.raises(PoolSpecError, match="--to raw_pool does not come after --from level_3_clusters"):
        steps_between(STEPS, "level_3_clusters", "raw_pool")


def test_shards_go_as_far_as_their_assignment() -> None:
    assert steps_of_shards(_Standing(stands=True), "raw_pool", None) == ["raw_pool", "embeddings", *ASSIGN]
    assert steps_of_shards(_Standing(stands=False), "raw_pool", None) == ["raw_pool", "embeddings"]
    assert steps_of_shards(_Standing(stands=True), "level_2_assign", None) == ASSIGN[1:]
    assert steps_of_shards(_Standing(stands=True), "ledger", None) == ["ledger"]


@pytest.mark.parametrize(
    ("first", "last", "stands"),
    [
        ("level_2_initial", None, True),
        ("raw_pool", "selection", True),
        ("selection", None, True),
        ("level_1_assign", None, False),
        ("raw_pool", "level_1_assign", False),
    ],
)
def test_what_would_mix_clusters_is_refused(first: str, last: str | None, stands: bool) -> None:
    with pytest.raises(PoolSpecError, match="would mix clusters"):
        steps_of_shards(_Standing(stands=stands), first, last)


def test_shards_by_name_and_range() -> None:
    every = ["00", "01", "02", "05"]
    assert shards_named(every, "01..05") == ["01", "02", "05"]
    assert shards_named(every, "05, 00") == ["00", "05"]
    assert shards_named(every, "00,01..02") == ["00", "01", "02"]
    for text, wrong in (
        ("03", "03: no such shard; there are 4: 00 to 05"),
        ("00..09", "09"),
        ("02..01", "no shard is chosen"),
    ):
        with pytest.raises(PoolSpecError, match=wrong):
            shards_named(every, text)
    with pytest.raises(PoolSpecError, match="none yet"):
        shards_named([], "00")


def test_missing_shards_lack_an_output() -> None:
    freshness = _Standing(stands=True, made={"raw_pool": {"a", "b"}, "embeddings": {"b"}})
    assert missing_shards(freshness, ["raw_pool", "embeddings"]) == ["a"]
    assert missing_shards(freshness, ["raw_pool"]) == []


def test_a_key_that_exists_is_taken_before_commas_and_dots_are_read() -> None:
    every = ["a,b", "c", "v1..2__x"]
    assert shards_named(every, "a,b") == ["a,b"]
    assert shards_named(every, "v1..2__x") == ["v1..2__x"]
    assert shards_named(every, "c,v1..2__x") == ["c", "v1..2__x"]
    with pytest.raises(PoolSpecError, match=r"--shards v1..3__x|--shards v1: no such shard"):
        shards_named(every, "v1..3__x")


def test_a_misspelt_shard_has_near_names() -> None:
    with pytest.raises(PoolSpecError, match=r"--shards part-01: no such shard; .*; similar: part_01"):
        shards_named(["part_01", "other"], "part-01")
