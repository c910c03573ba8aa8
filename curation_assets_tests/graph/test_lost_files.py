"""Outputs whose stored files are lost or cut are made again, and what follows them stays."""

from __future__ import annotations

from pathlib import Path

from curation_assets.graph.freshness import Freshness
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets_tests.graph.stored_steps import (
    STEPS,
    TREE,
    curate,
    made_pool,
    make,
    shard,
    whole,
)


def test_an_output_whose_file_is_lost_is_made_again_and_nothing_after_it(tmp_path: Path) -> None:
    shards = [shard("a"), shard("b")]
    storage = made_pool(tmp_path, shards)
    storage.output("raw_pool", "b").path("txt").unlink()
    storage.output("fit").path("txt").write_text("centr")
    freshness = Freshness(storage, STEPS, shards)
    assert freshness.reason("raw_pool", "b") == "stored file txt is missing"
    assert freshness.reason("fit", None) == "stored file txt has another size than recorded"
    assert freshness.reason("assign", "a") is None
    assert freshness.outdated()["assign"]["a"] == "upstream is out of date: fit"
    assert freshness.is_merely_lost("fit", None)
    make(storage, freshness, "raw_pool", "b", "rows of b")
    make(storage, freshness, "fit", None, "centroids")
    assert Freshness(storage, STEPS, shards).outdated() == {}
    storage.output("fit").path("txt").unlink()
    steps = {**STEPS, "fit": whole("fit", "raw_pool", settings={"k": 4})}
    other = Freshness(storage, steps, shards)
    assert other.reason("fit", None) == "k changed from 3 to 4; stored file txt is missing"
    assert not other.is_merely_lost("fit", None)


def test_a_lost_fit_is_repeated_on_its_rows_or_made_anew_if_they_are_gone(tmp_path: Path) -> None:
    storage = PoolStorage(str(tmp_path), "p")
    curate(storage, [shard("a"), shard("b")])
    now = [shard("a"), shard("b"), shard("c")]
    curate(storage, now)
    rows = storage.fit_rows()
    storage.output("level_1_clusters").path("txt").unlink()
    freshness = Freshness(storage, TREE, now)
    assert freshness.is_merely_lost("level_1_clusters", None)
    assert freshness.fit_rows() == rows
    fewer = [shard("a"), shard("c")]
    freshness = Freshness(storage, TREE, fewer)
    assert freshness.fit_rows() is None
    assert not freshness.is_merely_lost("level_1_clusters", None)
    reason = "input embeddings changed; stored file txt is missing"
    assert freshness.reason("level_1_clusters", None) == reason
