"""The selected rows of a pool of embeddings: its metadata with their types, and the curation's columns."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from curation_assets.errors import ShardError
from curation_assets.storage.shards import Shard

if TYPE_CHECKING:
    import pyarrow as pa

    from curation_assets.formats.base import ShardReader

_ROW_GROUP_ROWS = 65_536
_OWN_COLUMNS = ("sample_id", "source_file", "source_member")


def copy_rows(
    reader: ShardReader, shard: Shard, records: pl.DataFrame, record_schema: pa.Schema, path: Path
) -> int:
    """Write the selected rows of a shard as Parquet; returns how many there are.

    A metadata column with the name of one of our columns is written as `metadata_<name>`. Peak memory is
    the selected metadata of one file.

    Args:
        reader: an EmbeddingsReader.
        shard: its files.
        records: sample_id, source_file, source_member, offset and the record's columns of each selected row.
        record_schema: types of the record's columns.
        path: local file to write.

    Raises:
        ShardError: if the metadata of two files do not agree on a column's type, or a file cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from curation_assets.formats.embeddings import EmbeddingsReader

    if not isinstance(reader, EmbeddingsReader):
        raise TypeError(f"reader is a {type(reader).__name__}: pass the EmbeddingsReader of the pool")
    files = [file.path for file in shard.files if (records["source_file"] == file.path).any()]
    taken = {*_OWN_COLUMNS, *record_schema.names}
    try:
        metadata_schema = unified_schema([_renamed(reader.metadata_schema(file), taken) for file in files])
    except pa.ArrowException as error:
        raise ShardError(
            f"shard '{shard.key}': the metadata of its files do not agree on a column's type ({error}): write them "
            f"with one schema, or set source.files_per_shard to 1"
        ) from error
    own = pa.schema([(name, pa.string()) for name in _OWN_COLUMNS])
    schema = pa.schema([*own, *metadata_schema, *record_schema])
    n_written = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for file in files:
            mine = records.filter(pl.col("source_file") == file).sort("offset")
            metadata = reader.take_metadata(file, mine["offset"].to_numpy())
            metadata = conformed(
                metadata.rename_columns(_renamed(metadata.schema, taken).names), metadata_schema
            )
            mine = mine.with_columns(source_shard=pl.lit(shard.key))
            curation = mine.select(*own.names, *record_schema.names).to_arrow()
            curation = curation.cast(pa.schema([*own, *record_schema]))
            columns = {**_columns(curation), **_columns(metadata)}
            table = pa.table([columns[name] for name in schema.names], schema=schema)
            writer.write_table(table, _ROW_GROUP_ROWS)
            n_written += len(table)
    return n_written


def unified_schema(schemas: list[pa.Schema]) -> pa.Schema:
    """All columns of several schemas in order of appearance, each with a type that holds all of its types.

    Raises:
        pyarrow.ArrowException: if there is no such type.
    """
    import pyarrow as pa

    return pa.unify_schemas([schema.remove_metadata() for schema in schemas], promote_options="permissive")


def conformed(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with the columns and types of a schema; columns it lacks are null."""
    import pyarrow as pa

    columns = {
        field.name: table[field.name].cast(field.type)
        if field.name in table.column_names
        else pa.nulls(len(table), field.type)
        for field in schema
    }
    return pa.table(list(columns.values()), schema=schema)


def _renamed(schema: pa.Schema, taken: set[str]) -> pa.Schema:
    import pyarrow as pa

    names = set(schema.names)
    fields = []
    for field in schema:
        name = field.name
        while name in taken or (name != field.name and name in names):
            name = f"metadata_{name}"
        fields.append(field.with_name(name))
    return pa.schema(fields)


def _columns(table: pa.Table) -> dict[str, pa.ChunkedArray]:
    return {name: table[name] for name in table.column_names}
