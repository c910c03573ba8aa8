"""Parts of a stored selection: the same rows as reading all of it, here and in an object store."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from curation_assets.steps.dataset.selected import DUPLICATES, QUOTAS, SELECTED, part_of_shard, part_of_target
from curation_assets.storage.outputs import Recipe
from curation_assets.storage.pool_storage import PoolStorage

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
    with storage.output("selection").writing(Recipe({}, {}, "1")) as writer:
        for name in (SELECTED, QUOTAS):
            table.write_parquet(writer.file(name), row_group_size=7, statistics=statistics)
        writer.table(DUPLICATES, pl.DataFrame(schema={"shard": pl.String, "raw_row": pl.UInt32}))
    for shard in [*SHARDS, "a", "s1", "z"]:
        mine = table.filter(pl.col("shard") == shard)
        assert part_of_shard(storage, SELECTED, shard).equals(mine)
        assert part_of_shard(storage, SELECTED, shard, ["raw_row", "target"]).equals(
            mine.select("raw_row", "target")
        )
        assert part_of_shard(storage, DUPLICATES, shard).is_empty()
    for target in ("t0", "t1", "t2"):
        assert part_of_target(storage, QUOTAS, target, ["sample_id"]).equals(
            table.filter(pl.col("target") == target).select("sample_id")
        )
    parts = [part_of_shard(storage, SELECTED, shard) for shard in SHARDS]
    assert sum(part.height for part in parts) == table.height > 50
