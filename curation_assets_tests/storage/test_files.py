"""Parts of a stored table: the same rows as reading all of it, here and in an object store."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from curation_assets.storage.atomic import remove_folder
from curation_assets.storage.outputs import Recipe
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.tables import RawPool, Selection

SHARDS = [f"s{number:02}" for number in range(30)]


def table_of(n_targets: int) -> pl.DataFrame:
    rows = [
        {
            "target": f"t{target}",
            "shard": shard,
            "row": row,
            "raw_row": row + 1,
            "sample_id": f"{shard}-{row}",
        }
        for target in range(n_targets)
        for shard in SHARDS
        for row in range(target, int(shard[1:]) % 4)
    ]
    return pl.DataFrame(rows).with_columns(pl.col("raw_row").cast(pl.UInt32))


@pytest.mark.parametrize("place", ["local", "memory"])
@pytest.mark.parametrize("statistics", [True, False])
def test_parts_are_those_of_the_whole_table(tmp_path: Path, place: str, statistics: bool) -> None:
    root = str(tmp_path) if place == "local" else f"memory://{tmp_path.name}-{statistics}"
    storage, table = PoolStorage(root, "pool"), table_of(2)
    selection = storage.selection()
    with selection.writing(Recipe({}, {}, "1")) as writer:
        for declared in (Selection.selected, Selection.quotas):
            table.write_parquet(writer.file(declared.name), row_group_size=7, statistics=statistics)
        Selection.repeated_ids.write(writer, Selection.repeated_ids.empty())
    for shard in [*SHARDS, "a", "s1", "z"]:
        mine = table.filter(pl.col("shard") == shard)
        assert selection.selected.part("shard", shard).equals(mine)
        part = selection.selected.part("shard", shard, "raw_row", "target")
        assert part.equals(mine.select("raw_row", "target"))
        assert selection.repeated_ids.part("shard", shard).is_empty()
    for target in ("t0", "t1", "t2"):
        part = selection.quotas.part("target", target, "sample_id")
        assert part.equals(table.filter(pl.col("target") == target).select("sample_id"))
    parts = [selection.selected.part("shard", shard) for shard in SHARDS]
    assert sum(part.height for part in parts) == table.height > 50
    assert selection.selected.columns() == table.columns
    assert selection.repeated_ids.columns() == list(Selection.repeated_ids.schema)


@pytest.mark.parametrize("place", ["local", "memory"])
@pytest.mark.parametrize("folder", ["pool", "pool [dev]*"])
def test_no_name_is_a_pattern(tmp_path: Path, place: str, folder: str) -> None:
    root = str(tmp_path / folder) if place == "local" else f"memory://{tmp_path.name}/{folder}"
    storage, keys = PoolStorage(root, "p"), ["news[1]", "news1", "q?", "qa", "c*", "cd", "a#b%20c d"]
    for number, key in enumerate(keys):
        with storage.raw_pool(key).writing(Recipe({}, {}, key)) as writer:
            table = RawPool.samples.empty().select("sample_id", "size_bytes")
            row = pl.DataFrame({"sample_id": [key], "size_bytes": [number]}, schema=table.schema)
            RawPool.samples.write(writer, row)
    for number, key in enumerate(keys):
        samples = storage.raw_pool(key).samples
        assert samples.read().rows() == [(key, number)]
        assert samples.part("sample_id", key, "size_bytes")["size_bytes"].to_list() == [number]
    made = storage.shard_facts(RawPool.asset)
    assert {key: facts.code_version for key, facts in made.items()} == dict(zip(keys, keys, strict=True))
    remove_folder(storage.folder / RawPool.asset)
    assert storage.shard_facts(RawPool.asset) == {}
