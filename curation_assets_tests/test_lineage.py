"""Steps and freshness: what depends on what, and why something is out of date."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from curation_assets.formats.base import SourceFile
from curation_assets.freshness import Freshness
from curation_assets.lineage import Step, ancestors, descendants, direct_inputs, fit_steps, pool_steps
from curation_assets.pools import PoolSpec
from curation_assets.storage.outputs import Recipe
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.shards import Shard
from curation_assets_tests.projects import SMALL_POOL


def spec_of(**changes: Any) -> PoolSpec:
    return PoolSpec.model_validate({"name": "p", **SMALL_POOL, **changes})


def shard(key: str, version: str = "1") -> Shard:
    return Shard(key, (SourceFile(f"{key}.tar", 10, version),))


def test_a_level_without_resampling_has_clusters_and_assignments_only() -> None:
    steps = pool_steps(spec_of())
    assert [name for name in steps if name.startswith("level_3")] == ["level_3_clusters", "level_3_assign"]
    split = spec_of(levels=[{"n_clusters": 20, "n_coarse_clusters": 5}])
    assert [name for name in pool_steps(split) if name.startswith("level")] == [
        "level_1_clusters",
        "level_1_assign",
    ]


def test_descendants_and_direct_inputs() -> None:
    steps = pool_steps(spec_of())
    below = descendants(steps, "level_3_clusters")
    assert below == [
        "level_3_clusters", "level_3_assign", "tree", "drift", "selection", "ledger", "balanced_dataset",
        "curation_report",
    ]  # fmt: skip
    assert direct_inputs(steps, "level_1_clusters") == ["level_1_resampled"]
    assert direct_inputs(steps, "level_2_assign") == ["level_2_clusters", "level_1_assign"]
    assert direct_inputs(steps, "level_1_assign") == ["embeddings", "level_1_clusters"]
    assert direct_inputs(steps, "selection") == ["tree", "drift"]
    for name, step in steps.items():
        assert set(direct_inputs(steps, name)) <= {*step.inputs, *step.after}


def test_ancestors_and_fit_steps() -> None:
    steps = pool_steps(spec_of())
    assert ancestors(steps, "level_1_clusters") == [
        "raw_pool", "embeddings", "level_1_initial", "level_1_resampled", "level_1_clusters",
    ]  # fmt: skip
    assert fit_steps(steps, 2) == ["level_2_initial", "level_2_resampled", "level_2_clusters"]
    assert [steps[name].level for name in fit_steps(steps)] == [1, 1, 1, 2, 2, 2, 3]


STEPS = {
    "raw_pool": Step("raw_pool", True, (), {"colour": "red"}, "1"),
    "fit": Step("fit", False, ("raw_pool",), {"k": 3}, "1"),
    "assign": Step("assign", True, ("raw_pool", "fit"), {}, "1"),
}


def make(
    storage: PoolStorage, freshness: Freshness, name: str, key: str | None, content: str, **parts: str
) -> None:
    recipe = freshness.recipe(name, key)
    assert isinstance(recipe, Recipe)
    with storage.output(name, key).writing(recipe) as writer:
        writer.text("txt", content)
        writer.parts.update(parts)


def made_pool(folder: Path, shards: list[Shard]) -> PoolStorage:
    storage = PoolStorage(str(folder), "p")
    for entry in shards:
        make(storage, Freshness(storage, STEPS, shards), "raw_pool", entry.key, f"rows of {entry.key}")
    make(storage, Freshness(storage, STEPS, shards), "fit", None, "centroids")
    for entry in shards:
        make(storage, Freshness(storage, STEPS, shards), "assign", entry.key, "clusters")
    return storage


def test_everything_is_up_to_date_after_it_was_made(tmp_path: Path) -> None:
    shards = [shard("a"), shard("b")]
    storage = PoolStorage(str(tmp_path), "p")
    assert Freshness(storage, STEPS, shards).outdated()["fit"] == {None: "not made yet"}
    assert Freshness(storage, STEPS, shards).recipe("fit", None) is None
    assert Freshness(made_pool(tmp_path, shards), STEPS, shards).outdated() == {}


def test_a_changed_setting_is_named_and_what_follows_is_out_of_date(tmp_path: Path) -> None:
    shards = [shard("a"), shard("b")]
    storage = made_pool(tmp_path, shards)
    steps = {**STEPS, "fit": Step("fit", False, ("raw_pool",), {"k": 4}, "1")}
    outdated = Freshness(storage, steps, shards).outdated()
    assert outdated == {
        "fit": {None: "k changed from 3 to 4"},
        "assign": dict.fromkeys("ab", "upstream is out of date: fit"),
    }
    make(storage, Freshness(storage, steps, shards), "fit", None, "centroids")
    assert Freshness(storage, steps, shards).outdated() == {}, "the same content stops the propagation"
    steps["fit"] = Step("fit", False, ("raw_pool",), {"k": 4}, "2")
    assert Freshness(storage, steps, shards).outdated()["fit"] == {None: "code version 1 -> 2"}


def test_a_changed_shard_concerns_its_own_rows_and_the_fan_in(tmp_path: Path) -> None:
    storage = made_pool(tmp_path, [shard("a"), shard("b")])
    now = [shard("a"), shard("b", version="2"), shard("c")]
    outdated = Freshness(storage, STEPS, now).outdated()
    assert outdated["raw_pool"] == {"b": "input source changed", "c": "not made yet"}
    assert list(outdated["fit"]) == [None]


def test_a_shard_depends_on_its_own_part_of_a_shared_input(tmp_path: Path) -> None:
    shards = [shard("a"), shard("b")]
    storage = made_pool(tmp_path, shards)
    make(storage, Freshness(storage, STEPS, shards), "fit", None, "new", a="part of a", b="part of b")
    for entry in shards:
        make(storage, Freshness(storage, STEPS, shards), "assign", entry.key, "clusters")
    make(storage, Freshness(storage, STEPS, shards), "fit", None, "newer", a="part of a", b="other part of b")
    assert list(Freshness(storage, STEPS, shards).outdated()["assign"]) == ["b"]
