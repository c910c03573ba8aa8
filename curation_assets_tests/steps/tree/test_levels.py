"""Levels that are dropped, and levels that have collapsed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from curation_assets.graph.steps import pool_steps
from curation_assets.steps.report import gather_report
from curation_assets.steps.tree.levels import level_lines, measure_levels
from curation_assets.storage.clusters import n_fitted_levels
from curation_assets_tests.steps.built_pool import BuiltPool, Text
from curation_assets_tests.steps.making import make
from curation_assets_tests.steps.other_pools import EmbeddedPool
from curation_assets_tests.steps.tree.test_fit_sample import embedded

WHY = (
    "120 clusters at level 1 leave room for 2 levels, if neighbours differ by a factor of 1.7 or more. A dropped level "
    "repeats the clusters of level 2; to have it, set n_clusters at every level"
)


def planned(folder: Path, n_levels: int) -> tuple[EmbeddedPool, list[str]]:
    """A pool of 240 rows, whose plan has two levels, run up to its assignments, with the lines of its log."""
    pool, lines = embedded(folder, levels=[{}] * n_levels, atlas=None), []
    for step in pool_steps(pool.spec).values():
        if step.name.startswith("level"):
            for shard in pool.storage.shards() if step.partitioned else [None]:
                make(pool.spec, pool.storage, step.name, shard, log=lines.append)
    return pool, lines


def test_a_dropped_level_repeats_the_level_below(tmp_path: Path) -> None:
    pool, lines = planned(tmp_path, 4)
    assert lines == [f"level {level} is dropped: {WHY}" for level in (3, 3, 4, 4)]
    below = pool.storage.clusters(2).centroids.read()
    assert len(below) == 60
    for level in (3, 4):
        stored = pool.storage.clusters(level)
        np.testing.assert_array_equal(stored.centroids.read(), below)
        np.testing.assert_array_equal(stored.assignments.read(), np.arange(60))
        summary = stored.require_facts().summary
        assert (summary["dropped"], summary["why_dropped"], summary["n_inputs"]) == (True, WHY, 60)
        for shard in pool.storage.shards():
            rows = pool.storage.assigned(level, shard.key).rows.read()
            assert rows.equals(pool.storage.assigned(2, shard.key).rows.read())
    assert n_fitted_levels(pool.storage, 4) == 2
    found = measure_levels(pool.spec, pool.storage)
    assert [row["dropped"] for row in found] == [False, False, True, True]
    assert list(level_lines(found)) == [f"levels 3 to 4 are dropped: {WHY}"]


def test_a_pool_with_dropped_levels_is_drawn_and_reported(tmp_path: Path) -> None:
    pool, _ = planned(tmp_path, 3)
    selected = pool.select().filter(pl.col("target") == "small")
    assert selected["level_1"].n_unique() == 15, "one sample of each of 15 clusters"
    assert (selected["level_2"] == selected["level_3"]).all()
    pool.finish()
    levels = gather_report(pool.spec, pool.storage, pool.reader).levels
    assert [(level.why_dropped, level.resampling_steps) for level in levels] == [("", 0), ("", 10), (WHY, 0)]
    assert [len(level.sizes) for level in levels] == [120, 60, 60]


def collapsed_pool(folder: Path, **settings: Any) -> BuiltPool:
    """Sixteen rows in eight clusters of two, five of which lie below one cluster of level 2, of five."""
    texts = {"a": [Text(f"a{row}", row // 2) for row in range(16)]}
    settings = {"targets": [{"name": "t", "size": 4}], **settings}
    return BuiltPool(folder, texts, n_clusters=8, parents=[[0, 0, 0, 0, 1, 2, 3, 4]], **settings)


def test_a_level_that_one_cluster_holds_has_collapsed(tmp_path: Path) -> None:
    pool = collapsed_pool(tmp_path)
    found = measure_levels(pool.spec, pool.storage)
    assert [(row["n_clusters"], row["largest_share"], row["collapsed"]) for row in found] == [
        (8, 0.125, False),
        (5, 0.5, True),
    ]
    (line,) = level_lines(found)
    assert line.startswith("level 2 has collapsed: the largest of its 5 clusters holds 50% of the pool.")
    assert "balance_from" in line
    patient = collapsed_pool(tmp_path / "patient", max_share=0.5)
    assert not any(row["collapsed"] for row in measure_levels(patient.spec, patient.storage))


def test_rows_that_were_cleaned_away_do_not_count(tmp_path: Path) -> None:
    twin = ("duplicate", "exact", "a", "a0", 1.0)
    texts = {"a": [Text(f"a{row}", row // 2, twin=twin if 1 <= row < 8 else None) for row in range(16)]}
    pool = BuiltPool(
        tmp_path,
        texts,
        n_clusters=8,
        parents=[[0, 0, 0, 0, 1, 2, 3, 4]],
        targets=[{"name": "t", "size": 4}],
        deduplication={},
    )
    top = measure_levels(pool.spec, pool.storage)[1]
    assert (top["largest_share"], top["collapsed"]) == (0.2222, False)
