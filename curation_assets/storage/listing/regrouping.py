"""The groups of a listing that is lost, from what was read of its shards."""

from __future__ import annotations

import polars as pl

from curation_assets.errors import CurationError
from curation_assets.formats.base import SourceFile
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.shards import Shard
from curation_assets.storage.tables import RawPool


def known_or_regrouped(storage: PoolStorage) -> list[Shard]:
    """The shards of the last listing; if that is lost, those whose samples are stored.

    Of these sizes and versions are not known, but which files belong together, and in which order: a new listing then
    gives the shards that there were, and nothing is embedded again. Files without a row, and shards whose rows cannot
    be read, are left out: their files count as new.
    """
    if known := storage.known_shards():
        return known
    shards = []
    for key in sorted(storage.shard_facts(RawPool.asset)):
        try:
            paths = storage.raw_pool(key).samples.column("file").unique(maintain_order=True).to_list()
        except (CurationError, OSError, pl.exceptions.PolarsError):
            continue
        if paths:
            shards.append(Shard(key, tuple(SourceFile(path, 0, "") for path in paths)))
    return shards
