"""What refuses a step: something out of date that its output would be made from."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import pytest

from curation_assets.graph.base import Step
from curation_assets.graph.freshness import Forced, Freshness
from curation_assets.graph.gate import Passed, StaleInput, first_stale, stale_inputs
from curation_assets.storage.outputs import timestamp
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.shards import Shard
from curation_assets_tests.graph.test_freshness import CLEANED, TREE, curate, shard

AB = [shard("a"), shard("b")]


def curated(folder: Path, steps: dict[str, Step] = TREE) -> PoolStorage:
    storage = PoolStorage(str(folder), "p")
    curate(storage, AB, steps)
    return storage


def judged(
    storage: PoolStorage, steps: dict[str, Step], shards: list[Shard], name: str, passed: Passed | None = None
) -> dict[str | None, StaleInput]:
    """Every output of a step that is refused."""
    freshness = Freshness(storage, steps, shards)
    return stale_inputs(freshness, name, freshness.keys_of(steps[name]), {} if passed is None else passed)


def test_nothing_is_refused_in_a_pool_that_is_up_to_date(tmp_path: Path) -> None:
    storage = curated(tmp_path)
    for name in TREE:
        assert judged(storage, TREE, AB, name) == {}


def test_what_follows_a_changed_fit_is_refused_and_the_fit_is_not(tmp_path: Path) -> None:
    storage = curated(tmp_path)
    steps = {**TREE, "level_1_clusters": replace(TREE["level_1_clusters"], settings={"k": 4})}
    assert judged(storage, steps, AB, "level_1_clusters") == {}
    stale = StaleInput("level_1_clusters", "level_1_clusters", "k changed from 3 to 4", None)
    assert judged(storage, steps, AB, "level_2_clusters") == {None: stale}
    assert judged(storage, steps, AB, "level_1_assign") == {"a": stale, "b": stale}


def test_the_step_at_which_it_starts_is_named(tmp_path: Path) -> None:
    storage = curated(tmp_path, CLEANED)
    steps = {**CLEANED, "duplicates": replace(CLEANED["duplicates"], settings={"threshold": 0.8})}
    stale = StaleInput("level_1_clusters", "duplicates", "threshold changed from 0.9 to 0.8", None)
    assert judged(storage, steps, AB, "level_1_assign") == {"a": stale, "b": stale}
    now = [shard("a"), shard("b", version="2")]
    stale = StaleInput("duplicates", "raw_pool", "input source changed", "b")
    assert judged(storage, CLEANED, now, "admitted") == {"a": stale, "b": replace(stale, name="embeddings")}


def test_a_shard_is_refused_for_its_own_inputs_only_and_the_tree_stands(tmp_path: Path) -> None:
    storage = curated(tmp_path)
    now = [*AB, shard("c")]
    missing = StaleInput("embeddings", "raw_pool", "not made yet", "c")
    assert judged(storage, TREE, now, "level_1_assign") == {"c": missing}
    assert judged(storage, TREE, now, "level_2_clusters") == {}
    assert judged(storage, TREE, now, "level_1_clusters") == {}, "it stands, so it makes nothing"


def test_a_fit_of_all_rows_waits_for_all_of_them(tmp_path: Path) -> None:
    storage = curated(tmp_path)
    steps = {**TREE, "level_1_clusters": replace(TREE["level_1_clusters"], settings={"k": 4})}
    stale = judged(storage, steps, [*AB, shard("c")], "level_1_clusters")
    assert stale == {None: StaleInput("embeddings", "raw_pool", "not made yet", "c")}


def test_a_step_that_comes_after_another_waits_for_it(tmp_path: Path) -> None:
    storage = curated(tmp_path)
    draw = replace(
        TREE["level_2_clusters"], name="draw", inputs=("level_1_clusters",), after=("level_2_clusters",)
    )
    steps = {**TREE, "level_2_clusters": replace(TREE["level_2_clusters"], settings={"k": 9}), "draw": draw}
    stale = StaleInput("level_2_clusters", "level_2_clusters", "k changed from 2 to 9", None)
    assert judged(storage, steps, AB, "draw") == {None: stale}


def test_what_is_to_be_rebuilt_is_stale_until_it_is(tmp_path: Path) -> None:
    storage = curated(tmp_path)
    order = Forced(frozenset({"level_1_clusters"}), timestamp())
    found = stale_inputs(Freshness(storage, TREE, AB, order), "level_2_clusters", [None], {})
    assert found == {None: StaleInput("level_1_clusters", "level_1_clusters", "rebuild requested", None)}


@pytest.mark.parametrize("steps", [TREE, CLEANED], ids=["tree", "cleaned"])
def test_the_gate_agrees_with_what_is_out_of_date(steps: dict[str, Step], tmp_path: Path) -> None:
    storage = curated(tmp_path, steps)
    for changed in steps:
        other = {**steps, changed: replace(steps[changed], settings={"other": 1})}
        freshness = Freshness(storage, other, [*AB, shard("c")])
        found = freshness.outdated()
        for name, step in list(steps.items())[1:]:
            stale = stale_inputs(freshness, name, freshness.keys_of(step), {})
            expected = {key for key in freshness.keys_of(step) if freshness.outdated_inputs(step, key, found)}
            if name != "level_1_clusters":
                assert set(stale) == expected, (changed, name)


def test_where_it_starts_that_a_step_is_out_of_date(tmp_path: Path) -> None:
    storage = curated(tmp_path)
    steps = {**TREE, "level_1_clusters": replace(TREE["level_1_clusters"], settings={"k": 4})}
    freshness = Freshness(storage, steps, AB)
    assert first_stale(freshness, "embeddings") is None
    own = StaleInput("level_1_clusters", "level_1_clusters", "k changed from 3 to 4", None)
    assert first_stale(freshness, "level_1_clusters") == own
    assert first_stale(freshness, "level_1_assign") == replace(own, name="level_1_assign")
    missing = StaleInput("level_1_assign", "raw_pool", "not made yet", "c")
    assert first_stale(Freshness(storage, TREE, [*AB, shard("c")]), "level_1_assign") == missing


def test_what_has_passed_is_not_judged_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = curated(tmp_path)
    read: list[tuple[str, str | None]] = []
    real = Freshness.reason

    def reason(self: Freshness, name: str, key: str | None) -> str | None:
        read.append((name, key))
        return real(self, name, key)

    monkeypatch.setattr(Freshness, "reason", reason)
    passed: Passed = {}
    assert judged(storage, TREE, AB, "level_1_assign", passed) == {}
    looked_at: Collection[str] = {name for name, _ in read}
    assert looked_at >= {"raw_pool", "embeddings", "level_1_clusters"}
    read.clear()
    assert judged(storage, TREE, AB, "level_1_assign", passed) == {}
    assert judged(storage, TREE, AB, "level_2_clusters", passed) == {}
    assert {name for name, _ in read} <= {"level_1_clusters"}


def test_few_shards_cost_a_look_at_few_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = PoolStorage(str(tmp_path), "p")
    shards = [shard(f"{i:02}") for i in range(12)]
    curate(storage, shards)
    judged_keys: set[str | None] = set()
    real = Freshness.reason

    def reason(self: Freshness, name: str, key: str | None) -> str | None:
        judged_keys.add(key)
        return real(self, name, key)

    monkeypatch.setattr(Freshness, "reason", reason)
    assert stale_inputs(Freshness(storage, TREE, shards), "level_1_assign", ["03"], {}) == {}
    assert judged_keys == {"03", None}
