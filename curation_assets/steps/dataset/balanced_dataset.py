"""balanced_dataset: the selected samples of a shard, written in the output formats that hold samples."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

import polars as pl

from curation_assets.formats import ROW_FORMATS, RowFormat, build_writer, output_suffix
from curation_assets.formats.base import RawSample
from curation_assets.pools import PoolSpec
from curation_assets.steps.context import StepContext
from curation_assets.steps.dataset.embedding_dataset import copy_rows
from curation_assets.steps.ingest.accepted import is_as_read, samples_gone
from curation_assets.storage.tables import LABEL_PREFIX, BalancedDataset, RawPool

if TYPE_CHECKING:
    import pyarrow as pa


def write_dataset(step: StepContext) -> None:
    """Copy a shard's selected samples, byte for byte, with a record of where they came from and why.

    Writes one file per target and format that holds samples; none for a target without samples of this shard.

    Raises:
        ShardError: if a selected sample is no longer where the raw pool found it, or has other content.
    """
    spec, storage, writer, shard = step.spec, step.storage, step.writer, step.shard
    formats = row_formats(spec)
    raw = storage.raw_pool(shard.key).samples.read().with_row_index("raw_row")
    selected = storage.selection().selected.part("shard", shard.key)
    schema = _record_schema(raw, spec.n_levels)
    n_selected: dict[str, int] = {}
    for (target,), part in selected.partition_by("target", as_dict=True, maintain_order=True).items():
        n_selected[str(target)] = len(part)
        if not formats:
            continue
        records = _records(part, raw, schema)
        if spec.modality == "embedding":
            path = writer.file(BalancedDataset.file(str(target), "parquet"))
            gone = copy_rows(step.pool.reader, shard, records, schema, path)
        else:
            gone = _copy(step, records, str(target), schema)
        if gone:
            raise samples_gone(shard.key, len(gone), "selected samples", dict(reversed(gone)))
    writer.summary.update(n_written=n_selected, formats=list(formats))
    step.report(1.0, f"{sum(n_selected.values()):,} samples")


def row_formats(spec: PoolSpec) -> Sequence[RowFormat]:
    """The output formats of the pool that hold the samples themselves."""
    return [output_format for output_format in ROW_FORMATS if output_format in spec.output_formats]


def _copy(step: StepContext, records: pl.DataFrame, target: str, schema: pa.Schema) -> list[tuple[str, str]]:
    """Write the selected samples; returns file and id of those that are not there as the raw pool found them."""
    by_place = {
        (row["source_file"], row.pop("offset")): (
            (row.pop("content_sha256"), row.pop(RawPool.EXTRAS)),
            row | {"source_shard": step.shard.key},
        )
        for row in records.iter_rows(named=True)
    }
    with ExitStack() as stack:
        files = [
            stack.enter_context(
                build_writer(
                    output_format,
                    step.writer.file(BalancedDataset.file(target, output_suffix(output_format))),
                    record_schema=schema,
                    modality="text" if step.spec.modality == "text" else "image",
                )
            )
            for output_format in row_formats(step.spec)
        ]
        for file in step.shard.files:
            for item in step.pool.reader.read(file.path):
                if not isinstance(item, RawSample):
                    continue
                if (found := by_place.get((file.path, item.offset))) is None:
                    continue
                digests, record = found
                if is_as_read(item, *digests):
                    del by_place[file.path, item.offset]
                    for dataset_writer in files:
                        dataset_writer.write(item, record)
    return [(file, record["sample_id"]) for (file, _), (_, record) in by_place.items()]


def _records(selected: pl.DataFrame, raw: pl.DataFrame, schema: pa.Schema) -> pl.DataFrame:
    """The record written with each selected sample, and the sample's place in the files."""
    columns = [name for name in schema.names if name != "source_shard"]
    if RawPool.EXTRAS not in raw.columns:
        raw = raw.with_columns(pl.lit(None, pl.String).alias(RawPool.EXTRAS))
    digests = ("content_sha256", RawPool.EXTRAS)
    return (
        selected.join(raw.drop("sample_id"), on="raw_row", maintain_order="left")
        .rename({"file": "source_file", "member": "source_member"})
        .select("sample_id", "source_file", "source_member", "offset", *digests, *columns)
    )


def _record_schema(raw: pl.DataFrame, n_levels: int) -> pa.Schema:
    import pyarrow as pa

    levels = [(f"level_{level}", pa.int64()) for level in range(1, n_levels + 1)]
    labels = [(name, pa.string()) for name in raw.columns if name.startswith(LABEL_PREFIX)]
    return pa.schema([("source_shard", pa.string()), *levels, ("distance", pa.float32()), *labels])
