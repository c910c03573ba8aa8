"""Columns of the pool's rows, and which of them are set aside because their id was there before."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.steps.dataset.pool_index import PoolIndex, _rows_of_equal_hashes
from curation_assets.steps.dataset.shard_tables import shard_tables
from curation_assets_tests.steps.built_pool import BuiltPool, Text


@given(st.integers(0, 10_000), st.sampled_from([1, 2**20, 2**42, 2**60]))
def test_rows_of_equal_hashes_are_all_found(seed: int, step: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(0, 200))
    hashes = rng.integers(0, 60, n, dtype=np.uint64) * np.uint64(step)
    admitted = rng.random(n) < rng.choice([0.3, 1.0])
    counts = Counter(hashes[admitted].tolist())
    expected = [row for row in range(n) if admitted[row] and counts[int(hashes[row])] > 1]
    assert _rows_of_equal_hashes(hashes, admitted).tolist() == expected


def test_equal_hashes_of_different_ids_are_no_repetition(tmp_path: Path) -> None:
    texts = {key: [Text(f"{key}{i}", i % 3) for i in range(4)] for key in "abc"}
    texts["c"][2] = Text("a1", 1)
    pool = BuiltPool(tmp_path, texts, n_clusters=3, targets=[{"name": "all", "fraction": 1.0}])
    path = str(pool.storage.output("embeddings", "b").path("rows.parquet"))
    other = pl.read_parquet(str(pool.storage.output("embeddings", "a").path("rows.parquet")))
    pl.read_parquet(path).with_columns(id_hash=other["id_hash"]).write_parquet(path)
    index = PoolIndex.read(shard_tables(pool.spec, pool.storage))
    assert index.repeated_ids.select("shard", "sample_id", "kept_shard").rows() == [("c", "a1", "a")]
    assert np.flatnonzero(~index.admissible).tolist() == [10]
    assert index.starts.tolist() == [0, 4, 8, 12]
    assert (index.clusters.dtype, index.clusters.tolist()) == (np.int32, [0, 1, 2, 0, 0, 1, 2, 0, 0, 1, 1, 0])


def test_a_random_draw_depends_neither_on_the_shards_nor_on_their_order(tmp_path: Path) -> None:
    rows = [Text(f"t{i}", (i * i) % 7, 1 + i % 5) for i in range(120)]
    targets = [{"name": "rows", "size": 31}, {"name": "tokens", "tokens": 77}]
    drawn = []
    for number, texts in enumerate(
        ({"a": rows}, {"a": rows[60:], "b": rows[:60]}, {key: rows[i::4] for i, key in enumerate("dcba")})
    ):
        pool = BuiltPool(
            tmp_path / str(number), texts, n_clusters=7, parents=[[0, 0, 1, 1, 1, 0, 1]], targets=targets
        )
        drawn.append(pool.select().select("target", "sample_id", "level_1").sort(pl.all()))
    assert drawn[0].equals(drawn[1])
    assert drawn[0].equals(drawn[2])
    assert drawn[0].filter(pl.col("target") == "rows").height == 31
