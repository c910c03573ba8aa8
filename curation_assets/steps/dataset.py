"""balanced_dataset: the selected samples of a shard, written as WebDataset tars and Parquet."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import polars as pl

from curation_assets.errors import ShardError
from curation_assets.formats import OUTPUT_FORMATS, build_writer, output_suffix
from curation_assets.formats.base import RawSample, ShardReader
from curation_assets.steps.ingest import LABEL_PREFIX
from curation_assets.steps.ingest import TABLE as RAW_TABLE
from curation_assets.steps.select import SELECTED
from curation_assets.storage.outputs import OutputWriter
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.shards import Shard


def write_dataset(
    reader: ShardReader, shard: Shard, storage: PoolStorage, n_levels: int, writer: OutputWriter
) -> None:
    """Copy a shard's selected samples, byte for byte, with a record of where they came from and why.

    Args:
        reader: of the pool's format.
        shard: its files.
        storage: the pool's outputs.
        n_levels: levels of the tree, each a column of the record.
        writer: gets one file per target and format; none for a target that takes nothing of this shard.

    Raises:
        ShardError: if a selected sample is no longer where the raw pool found it.
    """
    raw = storage.output("raw_pool", shard.key).table(RAW_TABLE).with_row_index("raw_row")
    selected = storage.output("selection").table(SELECTED).filter(pl.col("shard") == shard.key)
    n_written: dict[str, int] = {}
    for (target,), part in selected.partition_by("target", as_dict=True, maintain_order=True).items():
        records = {
            (row["file"], row["offset"]): _record(row, shard.key, n_levels)
            for row in part.join(raw.drop("sample_id"), on="raw_row").iter_rows(named=True)
        }
        n_written[str(target)] = _copy(reader, shard, records, str(target), n_levels, raw, writer)
        if n_written[str(target)] != len(part):
            raise ShardError(
                f"shard '{shard.key}': {len(part) - n_written[str(target)]} selected samples are no longer in its "
                f"files: run raw_pool again"
            )
    writer.summary.update(n_written=n_written)


def _copy(
    reader: ShardReader,
    shard: Shard,
    records: dict[tuple[str, int], dict[str, Any]],
    target: str,
    n_levels: int,
    raw: pl.DataFrame,
    writer: OutputWriter,
) -> int:
    schema = _record_schema(raw, n_levels)
    n_written = 0
    with ExitStack() as stack:
        files = [
            stack.enter_context(
                build_writer(
                    output_format,
                    writer.file(f"{target}/{output_suffix(output_format)}"),
                    record_schema=schema,
                )
            )
            for output_format in OUTPUT_FORMATS
        ]
        for file in shard.files:
            for item in reader.read(file.path):
                if isinstance(item, RawSample) and (record := records.get((file.path, item.offset))):
                    for dataset_writer in files:
                        dataset_writer.write(item, record)
                    n_written += 1
    return n_written


def _record(row: dict[str, Any], shard: str, n_levels: int) -> dict[str, Any]:
    labels = {name: value for name, value in row.items() if name.startswith(LABEL_PREFIX)}
    levels = {f"level_{level}": row[f"level_{level}"] for level in range(1, n_levels + 1)}
    return {
        "sample_id": row["sample_id"],
        "source_shard": shard,
        "source_file": row["file"],
        "source_member": row["member"],
        **levels,
        "distance": row["distance"],
        **labels,
    }


def _record_schema(raw: pl.DataFrame, n_levels: int) -> Any:
    import pyarrow as pa

    levels = [(f"level_{level}", pa.int64()) for level in range(1, n_levels + 1)]
    labels = [(name, pa.string()) for name in raw.columns if name.startswith(LABEL_PREFIX)]
    return pa.schema([("source_shard", pa.string()), *levels, ("distance", pa.float32()), *labels])
