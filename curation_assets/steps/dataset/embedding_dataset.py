"""The selected rows of a pool of embeddings: its metadata with their types, and the curation's columns."""

from __future__ import annotations

from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from curation_assets.formats.attributes import plain, strict_json
from curation_assets.storage.shards import Shard

if TYPE_CHECKING:
    import pyarrow as pa

    from curation_assets.formats.base import ShardReader

_ROW_GROUP_ROWS = 65_536
_OWN_COLUMNS = ("sample_id", "source_file", "source_member")


def copy_rows(
    reader: ShardReader, shard: Shard, records: pl.DataFrame, record_schema: pa.Schema, path: Path
) -> list[tuple[str, str]]:
    """Write the selected rows of a shard as Parquet; returns file and id of those that are no longer there.

    A metadata column with the name of one of our columns, or of another metadata column, is written as
    `metadata_<name>`. Peak memory is the selected metadata of one file.

    Args:
        reader: an EmbeddingsReader.
        shard: its files.
        records: sample_id, source_file, source_member, offset and the record's columns of each selected row.
        record_schema: types of the record's columns.
        path: local file to write.

    Raises:
        ShardError: if a file cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from curation_assets.formats.embeddings import EmbeddingsReader

    if not isinstance(reader, EmbeddingsReader):
        raise TypeError(f"reader is a {type(reader).__name__}: pass the EmbeddingsReader of the pool")
    files = [file.path for file in shard.files if (records["source_file"] == file.path).any()]
    taken = {*_OWN_COLUMNS, *record_schema.names}
    metadata_schema = unified_schema([_renamed(reader.metadata_schema(file), taken) for file in files])
    own = pa.schema([(name, pa.string()) for name in _OWN_COLUMNS])
    schema = pa.schema([*own, *metadata_schema, *record_schema])
    gone: list[tuple[str, str]] = []
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for file in files:
            mine = records.filter(pl.col("source_file") == file).sort("offset")
            metadata = reader.take_metadata(file, mine["offset"].to_numpy())
            expected = mine["sample_id"].to_list()
            found = reader.ids_of(file, metadata) or expected[: len(metadata)]
            # Whole numbers that pandas made floats had other ids in older pools.
            changed = [was for was, now in zip_longest(expected, found) if was not in (now, f"{now}.0")]
            if changed:
                gone += [(file, was) for was in changed]
                continue
            metadata = conformed(
                metadata.rename_columns(_renamed(metadata.schema, taken).names), metadata_schema
            )
            mine = mine.with_columns(source_shard=pl.lit(shard.key))
            curation = mine.select(*own.names, *record_schema.names).to_arrow()
            curation = curation.cast(pa.schema([*own, *record_schema]))
            columns = {**_columns(curation), **_columns(metadata)}
            table = pa.table([columns[name] for name in schema.names], schema=schema)
            writer.write_table(table, _ROW_GROUP_ROWS)
    return gone


def unified_schema(schemas: list[pa.Schema]) -> pa.Schema:
    """All columns of several schemas in order of appearance, each with a type that holds all of its types.

    Where there is no such type, as for numbers beside words, the column becomes text: a pool whose files do not agree
    is not held up at its last step.
    """
    import pyarrow as pa

    types: dict[str, list[pa.DataType]] = {}
    for schema in schemas:
        for field in schema:
            types.setdefault(field.name, []).append(field.type)
    return pa.schema([(name, _common_type(found)) for name, found in types.items()])


def _common_type(types: list[pa.DataType]) -> pa.DataType:
    import pyarrow as pa

    try:
        schemas = [pa.schema([("column", one)]) for one in types]
        return pa.unify_schemas(schemas, promote_options="permissive").field(0).type
    except pa.ArrowException:
        return pa.string()


def conformed(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with the columns and types of a schema; columns it lacks are null."""
    import pyarrow as pa

    columns = {
        field.name: _as_type(table[field.name], field.type)
        if field.name in table.column_names
        else pa.nulls(len(table), field.type)
        for field in schema
    }
    return pa.table(list(columns.values()), schema=schema)


def _as_type(column: pa.ChunkedArray, wanted: pa.DataType) -> pa.ChunkedArray:
    import pyarrow as pa

    try:
        return column.cast(wanted)
    except pa.ArrowException:
        if not pa.types.is_string(wanted):
            raise
    chunks = [_readable_texts(chunk) for chunk in column.chunks]
    return pa.chunked_array([pa.array(texts, pa.string()) for texts in chunks], pa.string())


def _readable_texts(column: pa.Array) -> list[str | None]:
    """Texts of what Arrow has no text for: lists, objects, bytes, and times of unknown zones."""
    import pyarrow as pa

    from curation_assets.formats.arrow.rows import in_known_zones, readable_texts
    from curation_assets.formats.arrow.types import times_as_text

    batch = times_as_text(in_known_zones(pa.record_batch([column], names=["column"])))
    if pa.types.is_string(batch["column"].type):
        return readable_texts(batch["column"])
    try:
        # Lists, objects, bytes and the like have no text of their own.
        values = batch["column"].to_pylist()
        return [None if value is None else strict_json(value, default=plain) for value in values]
    # Texts that are not UTF-8, or dates beyond the year 9999, inside of them.
    except Exception:
        return readable_texts(batch["column"])


def _renamed(schema: pa.Schema, taken: set[str]) -> pa.Schema:
    import pyarrow as pa

    names, used, fields = set(schema.names), set(), []
    for field in schema:
        name = field.name
        while name in taken or name in used or (name != field.name and name in names):
            name = f"metadata_{name}"
        used.add(name)
        fields.append(field.with_name(name))
    return pa.schema(fields)


def _columns(table: pa.Table) -> dict[str, pa.ChunkedArray]:
    return {name: table[name] for name in table.column_names}
