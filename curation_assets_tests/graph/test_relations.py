"""How steps relate: what follows what, and which steps take in a shard."""

from __future__ import annotations

from curation_assets.graph.base import Step
from curation_assets.graph.relations import (
    ancestors,
    descendants,
    descendants_to_force,
    direct_inputs,
    fit_steps,
    ingest_steps,
    shard_sources,
    shard_steps,
)
from curation_assets.graph.steps import pool_steps
from curation_assets_tests.graph.test_steps import CLEANED, spec_of


def test_descendants_and_direct_inputs() -> None:
    steps = pool_steps(spec_of())
    below = descendants(steps, "level_3_clusters")
    assert below == [
        "level_3_clusters", "level_3_assign", "tree", "drift", "probe", "selection", "ledger",
        "balanced_dataset", "dataset_release", "comparison", "frontier", "atlas", "curation_report",
    ]  # fmt: skip
    assert direct_inputs(steps, "level_1_clusters") == ["level_1_resampled"]
    assert direct_inputs(steps, "level_2_assign") == ["embeddings", "level_1_assign", "level_2_clusters"]
    assert direct_inputs(steps, "level_1_assign") == ["embeddings", "level_1_clusters"]
    assert direct_inputs(steps, "selection") == ["tree", "drift"]
    for name, step in steps.items():
        added = set(direct_inputs(steps, name)) - {*step.inputs, *step.after}
        assert added == ({"level_3_assign"} if name in ("ledger", "balanced_dataset") else set())


def test_partitioned_steps_are_joined_by_partitioned_paths_wherever_one_follows_another() -> None:
    def step(name: str, *inputs: str, partitioned: bool = True, after: tuple[str, ...] = ()) -> Step:
        return Step(name, "1", inputs, {}, partitioned=partitioned, after=after)

    every = [
        step("read"),
        step("counted", "read", partitioned=False),
        step("split", "read", "counted"),
        step("looked_at", "split", partitioned=False),
        step("drawn", "counted", partitioned=False, after=("looked_at",)),
        step("written", "read", "drawn"),
    ]
    steps = {each.name: each for each in every}
    assert shard_sources(steps, "split") == ["read"]
    assert shard_sources(steps, "written") == ["read", "split"], (
        "it follows split, though it reads nothing of it"
    )
    assert shard_sources(steps, "drawn") == []
    assert direct_inputs(steps, "written") == ["read", "split", "drawn"]


def test_ancestors_and_fit_steps() -> None:
    steps = pool_steps(spec_of())
    assert ancestors(steps, "level_1_clusters") == [
        "raw_pool", "embeddings", "level_1_initial", "level_1_resampled", "level_1_clusters",
    ]  # fmt: skip
    assert fit_steps(steps, 2) == ["level_2_initial", "level_2_resampled", "level_2_clusters"]
    assert [steps[name].level for name in fit_steps(steps)] == [1, 1, 1, 2, 2, 2, 3]


def test_outputs_without_a_changed_row_are_not_forced_with_their_ancestors() -> None:
    steps = pool_steps(spec_of())
    kept = {"ledger", "balanced_dataset", "dataset_release"}
    for first in ("level_1_clusters", "selection"):
        assert set(descendants(steps, first)) - set(descendants_to_force(steps, first)) == kept
    assert descendants_to_force(steps, "ledger") == ["ledger", "atlas", "curation_report"]


def test_shards_are_taken_in_alone_until_duplicates_need_all_of_them() -> None:
    steps = pool_steps(spec_of(**CLEANED))
    assigns = ["level_1_assign", "level_2_assign", "level_3_assign"]
    assert ingest_steps(steps) == ["raw_pool", "embeddings", "contaminated", *assigns]
    assert shard_steps(steps) == ["raw_pool", "embeddings", "contaminated", "admitted", *assigns]


def test_a_step_that_follows_one_of_all_shards_waits_for_all_of_them() -> None:
    def step(name: str, *inputs: str, partitioned: bool = True) -> Step:
        return Step(name, "1", inputs, {}, partitioned=partitioned)

    alone, counted = step("alone"), step("counted", "alone", partitioned=False)
    after, far = step("after", "alone", "counted"), step("far", "after")
    steps = {each.name: each for each in (alone, counted, after, far)}
    assert ingest_steps(steps) == ["alone"]
    assert shard_steps(steps) == ["alone", "after", "far"]
