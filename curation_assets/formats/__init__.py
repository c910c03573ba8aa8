"""File formats: readers of pools, writers of balanced datasets, and decoders of samples."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from curation_assets.formats.base import DatasetWriter, ShardReader
from curation_assets.pools import SourceSettings

if TYPE_CHECKING:
    import pyarrow as pa

RowFormat = Literal["webdataset", "parquet"]
ROW_FORMATS: tuple[RowFormat, ...] = get_args(RowFormat)
"""Output formats that contain the samples themselves, shard by shard."""

__all__ = ["ROW_FORMATS", "RowFormat", "build_reader", "build_writer", "output_suffix"]


def build_reader(settings: SourceSettings, home: Path, memory_budget: int | None = None) -> ShardReader:
    """The reader of a pool's files; does not access storage yet.

    Each format is the module of its name in this folder, which calls its reader `READER`.

    Args:
        settings: the pool's `source`.
        home: the project's folder, to which a relative `source.path` refers.
        memory_budget: the pool's, in bytes; None for the least.
    """
    from curation_assets.formats.listing import resolve_location

    root = resolve_location(settings.path, home)
    reader: ShardReader = import_module(f"{__name__}.{settings.format}").READER(root, settings)
    reader.memory_budget = memory_budget
    return reader


def build_writer(
    output_format: RowFormat,
    path: Path,
    *,
    record_schema: pa.Schema,
    modality: Literal["image", "text"] = "image",
) -> DatasetWriter:
    """The writer of one output file; the file is created when the writer is entered.

    Args:
        output_format: one of `ROW_FORMATS`.
        path: local file to write.
        record_schema: columns of the records that `write` gets; ignored for a tar.
        modality: of the samples.

    Raises:
        ValueError: if the format is unknown.
    """
    if output_format == "parquet":
        from curation_assets.formats.parquet_writer import ParquetWriter

        return ParquetWriter(path, record_schema=record_schema, modality=modality)
    if output_format == "webdataset":
        from curation_assets.formats.webdataset_writer import WebDatasetWriter

        return WebDatasetWriter(path)
    raise ValueError(f"output_format is '{output_format}': choose from {', '.join(ROW_FORMATS)}")


def output_suffix(output_format: RowFormat) -> str:
    """Suffix, without dot, of the files of `build_writer`."""
    return {"webdataset": "tar", "parquet": "parquet"}[output_format]
