"""Per-sample weights; a sampler that draws by them sees clusters as balanced as the target's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from curation_assets.errors import CurationError
from curation_assets.pools import TargetSettings
from curation_assets.steps.dataset.shard_tables import ShardTables
from curation_assets.steps.soundness import require_assigned_rows
from curation_assets.storage.tables import Selection


def write_weights(
    tables: Sequence[ShardTables], selection: Selection, target: TargetSettings, path: Path
) -> int:
    """Write sample_id, source_shard and weight (float64) of every admissible sample; returns how many there are.

    The weight is the share of the sample's level-1 cluster divided by the cluster's admissible size, both as the draw
    counted them: samples, or tokens for a target in tokens. So the weights of a target in samples sum to its size, and
    weight times tokens to a target in tokens. Shares are real numbers, unlike quotas, so no weight is rounded to 0.
    Memory is one shard's rows and 16 bytes a cluster.

    Raises:
        CurationError: if the admissible samples are not those of the selection.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    quotas = selection.quotas.part("target", target.name, "level", "cluster", "size")
    sizes = quotas.filter(pl.col("level") == 1).sort("cluster")["size"].to_numpy()
    del quotas
    shares = selection.weights.part("target", target.name, "cluster", "weight")
    weights = shares.sort("cluster")["weight"].to_numpy()
    counts = np.zeros(len(sizes), dtype=np.int64)
    schema = pa.schema([("sample_id", pa.string()), ("source_shard", pa.string()), ("weight", pa.float64())])
    with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=["source_shard"]) as writer:
        for shard, ids, clusters in _admissible(tables, selection):
            # Not np.bincount, which would walk through all clusters for every shard.
            np.add.at(counts, clusters, 1)
            columns = [ids.to_arrow(), pa.repeat(shard, len(ids)), pa.array(weights[clusters])]
            arrays = [column.cast(field.type) for column, field in zip(columns, schema, strict=True)]
            writer.write_table(pa.table(arrays, schema=schema))
    if target.tokens is None and not np.array_equal(counts, sizes):
        raise CurationError(
            f"target '{target.name}': {int(counts.sum()):,} samples are admissible, but the selection counted "
            f"{int(sizes.sum()):,}: run selection again"
        )
    return int(counts.sum())


def _admissible(
    tables: Sequence[ShardTables], selection: Selection
) -> Iterator[tuple[str, pl.Series, np.ndarray]]:
    """Shard, ids and level-1 clusters of the rows that may be drawn, shard by shard."""
    repeated = selection.repeated_ids.read()
    for shard in tables:
        rows, clusters = (
            shard.embedded.rows.read("raw_row", "sample_id"),
            shard.assigned.rows.column("cluster"),
        )
        require_assigned_rows(shard.key, len(rows), len(clusters))
        table = rows.with_columns(clusters)
        if shard.admitted:
            table = table[np.asarray(shard.admitted.kept.read())]
        mine = repeated.filter(pl.col("shard") == shard.key)
        table = table.filter(~pl.col("raw_row").is_in(mine["raw_row"].implode()))
        yield shard.key, table["sample_id"], table["cluster"].to_numpy()
