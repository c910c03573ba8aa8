"""The files of the targets, shard by shard."""

from __future__ import annotations

import polars as pl

from curation_assets_tests.steps.drawn_pool import Pool


def test_a_shard_that_gives_nothing_to_a_target_has_no_file_for_it(drawn: Pool) -> None:
    selected = drawn.storage.output("selection").table("selected.parquet")
    for target in ("small", "typical"):
        for shard in drawn.storage.shards():
            mine = selected.filter((pl.col("target") == target) & (pl.col("shard") == shard.key))
            path = drawn.storage.output("balanced_dataset", shard.key).path(f"{target}/parquet")
            assert path.exists() == (mine.height > 0)
            if mine.height:
                assert pl.read_parquet(str(path)).height == mine.height
