"""A lost listing: the shards come back as they were from what was read of them."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from upath import UPath

from curation_assets.formats.base import SourceFile
from curation_assets.storage.listing.regrouping import known_or_regrouped
from curation_assets.storage.outputs import Recipe
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.shards import SHARDS_FILE, Shard, relisted
from curation_assets.storage.tables import RawPool


def files(*names: str) -> list[SourceFile]:
    return [SourceFile(name, len(name), f"{len(name)}.1-2") for name in names]


def read(storage: PoolStorage, shards: list[Shard]) -> None:
    """Store a row for each file, as `raw_pool` does for a folder."""
    for shard in shards:
        with storage.output(RawPool.asset, shard.key).writing(Recipe({}, {}, "1")) as writer:
            paths = [file.path for file in shard.files]
            table = pl.DataFrame({"file": paths}, schema={"file": pl.String})
            RawPool.samples.write(writer, pl.concat([RawPool.samples.empty(), table], how="diagonal"))


def test_a_pool_that_grew_has_the_shards_that_it_had(tmp_path: Path) -> None:
    storage = PoolStorage(str(tmp_path), "p")
    shards: list[Shard] = []
    # What arrived later lies between the first files.
    for arrived in (files("b", "d"), files("a", "b", "c", "d"), files("a", "b", "c", "d", "aa", "e")):
        shards = relisted(arrived, 2, shards).shards
    assert [[file.path for file in shard.files] for shard in shards] == [["a", "c"], ["aa", "e"], ["b", "d"]]
    storage.save_shards(shards)
    read(storage, shards)
    assert known_or_regrouped(storage) == shards
    UPath(storage.folder / SHARDS_FILE).unlink()
    known = known_or_regrouped(storage)
    again = relisted(files("a", "b", "c", "d", "aa", "e"), 2, known)
    assert again.shards == shards
    assert [shard.source_digest for shard in again.shards] == [shard.source_digest for shard in shards]
    assert (again.new, again.gone, again.n_files_left) == ([], [], 0)
    # A file that left meanwhile is noticed.
    assert relisted(files("a", "b", "c", "d"), 2, known).gone == ["aa-e"]


def test_what_cannot_be_read_counts_as_new(tmp_path: Path) -> None:
    storage = PoolStorage(str(tmp_path), "p")
    assert known_or_regrouped(storage) == []
    shards = relisted(files("a", "b", "c"), 1, []).shards
    read(storage, shards)
    Path(str(storage.raw_pool("a").samples.path)).unlink()
    Path(str(storage.raw_pool("b").samples.path)).write_bytes(b"PAR1 cut")
    assert [shard.key for shard in known_or_regrouped(storage)] == ["c"]
