"""Gate before the encoding: one id that stands for different samples in different files."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from curation_assets.errors import PoolSpecError
from curation_assets.formats.base import RejectionReason
from curation_assets.pools import SourceSettings
from curation_assets.pools.source import WebDatasetSource
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.tables import RawPool

MOST_REPEATED = 0.01
"""Share of a pool's samples that may repeat the id of another sample; they are rejected one by one."""
_DIGITS = 15


def require_distinct_ids(storage: PoolStorage, source: SourceSettings, shards: Sequence[str]) -> None:
    """Refuse to encode a pool of which files repeat each other's ids, since only the first of each would be kept.

    Downloads that count from zero do so. The same id with the same bytes is a copy, which may stay. Takes 8 bytes for
    each sample of the pool, and 24 for each with a repeated id.

    Args:
        storage: the pool's outputs.
        source: the pool's source.
        shards: whose raw pools are made.

    Raises:
        PoolSpecError: if more than 1 % of the samples have the id of another sample with other content; it names two
            files and the remedy.
    """
    outputs = [storage.raw_pool(key) for key in shards]
    hashes = [_candidates(raw)["id_hash"].to_numpy() for raw in outputs]
    n_rows = sum(map(len, hashes))
    ordered = np.sort(np.concatenate([np.empty(0, dtype=np.uint64), *hashes]))
    repeated = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    del ordered
    if len(repeated) <= MOST_REPEATED * n_rows:
        return
    parts = []
    for number, raw in enumerate(outputs):
        is_repeated = np.isin(hashes[number], repeated)
        if is_repeated.any():
            # One number for each, as 10 million digests in text would take a gigabyte.
            content = pl.col("content_sha256").str.slice(0, _DIGITS).str.to_integer(base=16, dtype=pl.Int64)
            rows = _candidates(raw, "content_sha256").filter(pl.Series(is_repeated))
            parts.append(
                rows.select("raw_row", "id_hash", content=content, shard=pl.lit(number, dtype=pl.Int32))
            )
    found = pl.concat(parts).drop_nulls("content")
    first = pl.col("content", "shard", "raw_row").first().over("id_hash").name.prefix("first_")
    clashes = found.with_columns(first).filter(pl.col("content") != pl.col("first_content"))
    if len(clashes) <= MOST_REPEATED * n_rows:
        return
    clash = clashes.row(0, named=True)
    one = _row(outputs[clash["first_shard"]], clash["first_raw_row"])
    other = _row(outputs[clash["shard"]], clash["raw_row"])
    raise PoolSpecError(
        f"{len(clashes):,} of the {n_rows:,} samples of pool '{storage.pool}' have the id of another sample with other "
        f"content: '{one['sample_id']}' is both in {one['file']} and in {other['file']}. Only the first of each would "
        f"be kept: {_remedy(source)}"
    )


def _remedy(source: SourceSettings) -> str:
    if isinstance(source, WebDatasetSource):
        return "set source.ids to file_and_key, or remove one of the files"
    return (
        "leave source.id_field out, so that ids are file and row, name unique ids, or remove one of the files"
    )


def _candidates(raw: RawPool, *columns: str) -> pl.DataFrame:
    """Accepted rows, and those that another file of the shard keeps out."""
    table = raw.samples.read("id_hash", "reason", *columns).with_row_index("raw_row")
    reason = pl.col("reason")
    return table.filter(reason.is_null() | (reason == RejectionReason.DUPLICATE_ID.value))


def _row(raw: RawPool, row: int) -> dict[str, str]:
    return raw.samples.read("sample_id", "file").row(row, named=True)
