"""Waves and blocks, worked by hand."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from curation_assets.graph.freshness import Freshness
from curation_assets.graph.steps import pool_steps
from curation_assets.graph.waves import contiguous_blocks, next_wave, waves
from curation_assets_tests.projects import spec_of


def test_a_wave_ends_where_partitions_begin_or_end() -> None:
    steps = pool_steps(spec_of())
    found = waves(steps, steps)
    assert found[0] == ["raw_pool", "embeddings"]
    assert found[1] == [
        "level_1_initial", "level_1_resampled", "level_1_clusters",
        "level_2_initial", "level_2_resampled", "level_2_clusters", "level_3_clusters",
    ]  # fmt: skip
    assert found[2:] == [
        ["level_1_assign", "level_2_assign", "level_3_assign"],
        ["tree", "drift"],
        ["probe", "selection", "comparison", "frontier"],
        ["ledger", "balanced_dataset"],
        ["dataset_release", "atlas", "curation_report"],
    ]
    assert waves(steps, ["curation_report", "selection"]) == [["selection"], ["curation_report"]]


class _Outdated(Freshness):
    """Says what a test says is out of date."""

    def __init__(self, outdated: dict[str, dict[str | None, str]]) -> None:
        self.steps = pool_steps(spec_of())
        self._outdated = outdated

    def outdated(self) -> dict[str, dict[str | None, str]]:
        return self._outdated


def test_the_first_wave_and_its_reasons() -> None:
    late: dict[str, dict[str | None, str]] = {
        "embeddings": {"a": "not made yet", "b": "not made yet", "c": "input raw_pool changed"},
        "level_1_initial": {None: "upstream is out of date: embeddings"},
        "level_1_assign": {"a": "not made yet"},
    }
    wave = next_wave(_Outdated(late))
    assert wave is not None
    assert (list(wave.outputs), wave.shards, wave.partitioned) == (["embeddings"], {"a", "b", "c"}, True)
    assert wave.summary == "not made yet (2); input raw_pool changed (1)"
    assert wave.summary_of({"c"}) == "input raw_pool changed (1)"
    assert next_wave(_Outdated({})) is None
    some = next_wave(_Outdated(late), shards={"b"})
    assert some is not None
    assert some.shards == {"b"}
    named = next_wave(_Outdated(late), names=["level_1_initial"])
    assert named is not None
    assert (list(named.outputs), named.summary) == (
        ["level_1_initial"],
        "upstream is out of date: embeddings",
    )


def test_shards_are_assigned_in_the_run_that_ingests_them_if_the_tree_stands() -> None:
    late: dict[str, dict[str | None, str]] = {
        name: {"a": "not made yet"}
        for name in ("raw_pool", "embeddings", "level_1_assign", "level_2_assign", "ledger")
    } | {"tree": {None: "x"}, "drift": {None: "x"}, "selection": {None: "x"}, "curation_report": {None: "x"}}
    wave = next_wave(_Outdated(late))
    assert wave is not None
    assert list(wave.outputs) == ["raw_pool", "embeddings", "level_1_assign", "level_2_assign"]
    rest = {name: late[name] for name in ("tree", "drift", "curation_report")}
    wave = next_wave(_Outdated(rest))
    assert wave is not None
    assert list(wave.outputs) == ["tree", "drift"], "nothing orders the report after drift in one run"


@given(st.sets(st.integers(0, 30)))
def test_blocks_cover_exactly_what_is_wanted(wanted: set[int]) -> None:
    ordered = [f"{i:02}" for i in range(31)]
    blocks = contiguous_blocks(ordered, {f"{i:02}" for i in wanted})
    covered = {i for first, last in blocks for i in range(int(first), int(last) + 1)}
    assert covered == wanted
    assert all(int(right[0]) - int(left[1]) > 1 for left, right in itertools.pairwise(blocks))


def test_blocks_are_joined_over_the_smallest_gaps() -> None:
    ordered = [f"{i:02}" for i in range(31)]
    wanted = ["00", "02", "10", "13", "14", "30"]
    assert contiguous_blocks(ordered, wanted) == [
        ("00", "00"),
        ("02", "02"),
        ("10", "10"),
        ("13", "14"),
        ("30", "30"),
    ]
    assert contiguous_blocks(ordered, wanted, 3) == [("00", "02"), ("10", "14"), ("30", "30")]
    assert contiguous_blocks(ordered, wanted, 1) == [("00", "30")]
    assert contiguous_blocks(ordered, [], 3) == []


@given(st.sets(st.integers(0, 30), min_size=1), st.integers(1, 6))
def test_joined_blocks_cover_what_is_wanted_and_are_no_more_than_asked_for(
    wanted: set[int], most: int
) -> None:
    ordered = [f"{i:02}" for i in range(31)]
    blocks = contiguous_blocks(ordered, {f"{i:02}" for i in wanted}, most)
    covered = [i for first, last in blocks for i in range(int(first), int(last) + 1)]
    assert wanted <= set(covered)
    assert len(covered) == len(set(covered))
    assert len(blocks) <= most
