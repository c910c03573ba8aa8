"""Finds samples of a pool by their id, shard by shard."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

import polars as pl

from curation_assets.steps.ingest.raw_pool import hash_id
from curation_assets.storage.outputs import FACTS
from curation_assets.storage.pool_storage import PoolStorage

_CANDIDATES = 5_000
_LONGEST_END = 4


def find_sample(storage: PoolStorage, sample_id: str) -> Iterator[tuple[str, int]]:
    """Shard and raw-pool row of every sample with this id. Reads one column of hashes of each shard."""
    hashed = hash_id(sample_id)
    for shard in storage.shards():
        raw = storage.raw_pool(shard.key)
        if not raw.path(FACTS).exists():
            continue
        rows = (raw.samples.column("id_hash") == hashed).arg_true()
        if len(rows):
            ids = raw.samples.column("sample_id")
            yield from ((shard.key, row) for row in rows.to_list() if ids[row] == sample_id)


def close_ids(storage: PoolStorage, sample_id: str, n: int = 3) -> list[str]:
    """Ids of the pool that look like the given one: they contain it, or begin or end like it."""
    name, asked = pl.col("sample_id").str.to_lowercase(), sample_id.lower()
    end = max(1, min(_LONGEST_END, len(asked) // 2))
    alike = (
        name.str.contains(asked, literal=True)
        | name.str.starts_with(asked[:end])
        | name.str.ends_with(asked[-end:])
    )
    found: list[str] = []
    for shard in storage.shards():
        raw = storage.raw_pool(shard.key)
        if len(found) < _CANDIDATES and raw.path(FACTS).exists():
            found += raw.samples.read("sample_id").filter(alike)["sample_id"].to_list()
    by_name = {name.lower(): name for name in sorted(found[:_CANDIDATES], reverse=True)}
    return [by_name[name] for name in difflib.get_close_matches(asked, by_name, n)]
