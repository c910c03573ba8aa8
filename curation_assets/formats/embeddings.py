"""Reads precomputed embeddings: .npy arrays, with one row of Parquet for each of their rows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from upath import UPath

from curation_assets.errors import PoolSpecError, ShardError
from curation_assets.formats.accounts import Account, Cause
from curation_assets.formats.arrow.batches import MAGIC, ParquetBatches, open_batches
from curation_assets.formats.arrow.rows import in_known_zones, python_rows
from curation_assets.formats.arrow.types import is_binary, is_id, most_exact, without_nanoseconds
from curation_assets.formats.base import (
    DamagedFileError,
    Listing,
    RawSample,
    RejectedSampleError,
    Rejection,
    RejectionReason,
    SourceFile,
)
from curation_assets.formats.listed.versions import with_companion
from curation_assets.formats.listing import PatternReader, list_matching_files
from curation_assets.formats.npy import NPY_MAGIC, NpyHeader, read_npy_header, read_npy_rows
from curation_assets.formats.opening import StorageFile, ends_with, first_bytes, open_file, storage_errors
from curation_assets.formats.rows import id_text, inexact_id, is_token_count, shown_value, whole_number
from curation_assets.locations import full_path
from curation_assets.pools import EmbeddingsSource

CLIP_RETRIEVAL_ARRAYS = "img_emb/img_emb_*.npy"
_CLIP_RETRIEVAL_NAME = re.compile(r"img_emb/img_emb_(.*)\.npy")
_ARRAY_SUFFIX, _TABLE_SUFFIX = ".npy", ".parquet"
_BATCH_ROWS = 8192


class EmbeddingsReader(PatternReader[EmbeddingsSource]):
    """Streams the metadata of embeddings as samples without content, and their arrays in chunks.

    A sample's file is its .npy; its offset and member are its row. Its id comes from a column, or is the file's path
    and the row: `img_emb_0:17`.

    Raises:
        PoolSpecError: if the pattern does not name .npy files.
    """

    def __init__(self, root: UPath, source: EmbeddingsSource) -> None:
        super().__init__(root, source)
        self._pattern = source.pattern if source.layout == "folder" else CLIP_RETRIEVAL_ARRAYS
        self._first: tuple[str, int] | None = None
        self._id_types: dict[str, pa.DataType] = {}
        """By array."""
        if not self._pattern.endswith(_ARRAY_SUFFIX):
            raise PoolSpecError(
                f"source.pattern is '{self._pattern}': end it in {_ARRAY_SUFFIX}; the Parquet beside each array is "
                f"found from its name"
            )

    def look(self) -> Listing:
        """See `ShardReader.look`: the arrays; a file's version changes with its Parquet too."""
        listing = list_matching_files(
            self._root, self._pattern, belongs_to=self.belongs_to, **self.ways_to_look
        )
        arrays = listing.files
        pattern = table_path(self._pattern, self._source.layout)
        try:
            listed = list_matching_files(self._root, pattern, **self.ways_to_look)
            tables = {file.path: file for file in listed.files}
        except PoolSpecError:
            # An array without Parquet is reported when it is read.
            tables = {}
        layout = self._source.layout
        files = [
            replace(file, version=with_companion(file.version, tables.get(table_path(file.path, layout))))
            for file in arrays
        ]
        left_out = {cause: dict(kinds) for cause, kinds in listing.left_out.items()}
        if self._source.layout == "clip_retrieval" and (folders := left_out.get(Cause.FOLDER)):
            folders.pop("metadata", None)
        told = {cause: kinds for cause, kinds in left_out.items() if kinds}
        return Listing(files, told, listing.held_back)

    def belongs_to(self, path: str) -> str | None:
        """See `PatternReader.belongs_to`: the array of a Parquet."""
        return path.removesuffix(_TABLE_SUFFIX) + _ARRAY_SUFFIX if path.endswith(_TABLE_SUFFIX) else None

    def is_closed(self, file: SourceFile) -> bool:
        """Whether the array has the length that its header gives, and its Parquet exists and is complete.

        Also if the file does not begin as arrays do.
        """
        try:
            head = first_bytes(self._root, file.path, len(NPY_MAGIC))
            if len(head) == len(NPY_MAGIC) and head != NPY_MAGIC:
                return True
            with open_file(self._root, file.path) as handle:
                whole = file.size_bytes >= read_npy_header(handle, file.path).file_bytes
            return whole and ends_with(self._root, table_path(file.path, self._source.layout), MAGIC)
        except ShardError:
            return False

    def read(self, file: str, account: Account | None = None) -> Iterator[RawSample | Rejection]:
        """See `ShardReader.read`; peak memory is a batch of metadata rows, and the ids of the file.

        Raises:
            ShardError: if the array or its Parquet is missing or unreadable, or the two do not match.
        """
        header = self.header(file)
        # The path without suffix, so that two folders with files of one name give different ids.
        stem = file.removesuffix(_ARRAY_SUFFIX)
        if self._source.layout == "clip_retrieval":
            stem = stem.removeprefix("img_emb/")
        account = account or Account()
        account.n_seen += header.n_rows
        first_rows: dict[str, int] = {}
        row = 0
        for batch in self._metadata_batches(file, header, self._wanted_columns()):
            for values in python_rows(without_nanoseconds(in_known_zones(batch))):
                yield account.took(self._sample(file, stem, row, values, first_rows))
                row += 1
        account.require_balance(file)
        if row == 0:
            yield Rejection(file, file, None, RejectionReason.EMPTY_FILE, "the array has no row")

    def header(self, file: str) -> NpyHeader:
        """An array's header, after a check of the file's length and of the dimension.

        Raises:
            ShardError: if it is missing, truncated, not a 2-D array of floats, or of another dimension.
        """
        with open_file(self._root, file) as handle:
            header = read_npy_header(handle, file)
        if handle.size < header.file_bytes:
            raise ShardError(
                f"{file}: has {handle.size:,} of the {header.file_bytes:,} bytes that its header announces; it is "
                f"truncated: copy it again"
            )
        self._require_dimension(file, header.dimension)
        return header

    def read_array(self, file: str) -> Iterator[np.ndarray]:
        """The rows of an array in order, in chunks (m, d) of its own type.

        Raises:
            ShardError: as `header`, or if storage fails.
        """
        header = self.header(file)
        with storage_errors(file):
            yield from read_npy_rows(self._root / file, header)

    def metadata_schema(self, file: str) -> pa.Schema:
        """Columns of an array's Parquet, without the metadata that libraries add.

        Raises:
            ShardError: if the Parquet is missing or cannot be read.
        """
        with self._table(file) as batches:
            schema: pa.Schema = batches.schema.remove_metadata()
            return schema

    def take_metadata(self, file: str, rows: np.ndarray) -> pa.Table:
        """Some rows of an array's Parquet, with its types.

        Args:
            file: path of the array.
            rows: int64 (m,), ascending.

        Raises:
            ShardError: as `read`.
        """
        parts = [pa.Table.from_batches([], self.metadata_schema(file))]
        start = 0
        for batch in self._metadata_batches(file, self.header(file)):
            begin, end = np.searchsorted(rows, [start, start + batch.num_rows])
            if begin < end:
                parts.append(pa.Table.from_batches([batch]).take(pa.array(rows[begin:end] - start)))
            start += batch.num_rows
        return pa.concat_tables([part.replace_schema_metadata(None) for part in parts])

    def ids_of(self, file: str, metadata: pa.Table) -> list[str | None] | None:
        """Ids of rows that `take_metadata` gave; None if ids are made from the rows' places.

        Raises:
            ShardError: if an id is a float that is no exact whole number.
        """
        if self._source.id_field is None:
            return None
        values = metadata[self._source.id_field].to_pylist()
        return [self._id_of(file, row, value) for row, value in enumerate(values)]

    def _wanted_columns(self) -> list[str]:
        """The columns that samples need; a bad value in another one is nobody's."""
        return list(dict.fromkeys(name for _, name in self._named_columns()))

    def _named_columns(self) -> Iterator[tuple[str, str]]:
        """Setting and column of each column that the source names."""
        settings = self._source
        for key in ("id_field", "text_field", "token_count_field"):
            if (name := getattr(settings, key)) is not None:
                yield key, name
        yield from (("label_fields", name) for name in settings.label_fields)

    def _metadata_batches(
        self, file: str, header: NpyHeader, columns: list[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Batches of some columns, or of all, each a few MiB."""
        table = table_path(file, self._source.layout)
        with self._table(file) as batches:
            if batches.n_rows != header.n_rows:
                raise ShardError(
                    f"{file}: has {header.n_rows:,} rows, but {table} has {batches.n_rows:,}; they must be "
                    f"row-aligned: write both again"
                )
            self._require_columns(table, batches.schema)
            if self._source.id_field is not None:
                self._id_types[file] = self._id_type(table, batches.schema)
            if columns is None or columns:
                for _, batch in batches.iterate(columns):
                    yield batch
                return
        for start in range(0, header.n_rows, _BATCH_ROWS):
            # Rows without a column.
            n_rows = min(_BATCH_ROWS, header.n_rows - start)
            yield pa.RecordBatch.from_struct_array(pa.array([{}] * n_rows, pa.struct([])))

    def _sample(
        self,
        file: str,
        stem: str,
        row: int,
        values: dict[str, Any] | RejectedSampleError,
        first_rows: dict[str, int],
    ) -> RawSample | Rejection:
        member = f"row {row}"
        sample_id = f"{stem}:{row}"
        if isinstance(values, RejectedSampleError):
            return Rejection(sample_id, file, member, values.reason, values.detail)
        found = None
        if self._source.id_field is not None:
            found = self._id_of(file, row, values[self._source.id_field])
            if found is None:
                detail = f"the column '{self._source.id_field}' is null or empty in {member}"
                return Rejection(sample_id, file, member, RejectionReason.MISSING_FIELD, detail)
            sample_id = found
        if (counts := self._source.token_count_field) and not is_token_count(values[counts]):
            detail = (
                f"the column '{counts}' (source.token_count_field) is {shown_value(values[counts])} in {member}, "
                f"expected a whole number of tokens, 0 or more"
            )
            return Rejection(sample_id, file, member, RejectionReason.MISSING_FIELD, detail)
        if found is not None:
            first = first_rows.setdefault(sample_id, row)
            if first != row:
                detail = f"the id was met before in this file, first in row {first}"
                return Rejection(sample_id, file, member, RejectionReason.DUPLICATE_ID, detail)
        return RawSample(sample_id, file, member, row, b"", {}, values)

    def _id_of(self, file: str, row: int, value: Any) -> str | None:
        if not isinstance(value, float) or value != value:
            return id_text(value)
        kind = self._id_types[file]
        try:
            return whole_number(value, most_exact(kind))
        except ValueError as error:
            table = table_path(file, self._source.layout)
            raise inexact_id(table, str(self._source.id_field), str(kind), row, error) from error

    def _require_dimension(self, file: str, dimension: int) -> None:
        settings = self._source
        if settings.dimension is not None:
            if dimension != settings.dimension:
                raise ShardError(
                    f"{file}: embeddings have dimension {dimension}, but source.dimension is {settings.dimension}: "
                    f"embed the file with {settings.encoder}, or correct source.dimension"
                )
            return
        first_file, expected = self._first_dimension(file, dimension)
        if dimension != expected:
            raise ShardError(
                f"{file}: embeddings have dimension {dimension}, but those of {first_file}, the first file, have "
                f"{expected}: embed both with the same model, or set source.dimension to the right one"
            )

    def _first_dimension(self, file: str, dimension: int) -> tuple[str, int]:
        """The first readable array of the pool, and its dimension; looked up once."""
        if self._first is None:
            self._first = (file, dimension)
            for listed in list_matching_files(
                self._root, self._pattern, follow_links=self._source.follow_links
            ).files:
                try:
                    with open_file(self._root, listed.path) as handle:
                        self._first = (listed.path, read_npy_header(handle, listed.path).dimension)
                    break
                except ShardError:
                    # Its own shard reports it.
                    continue
        return self._first

    def _require_columns(self, table: str, schema: pa.Schema) -> None:
        for setting, name in self._named_columns():
            if (n_columns := schema.names.count(name)) != 1:
                fault = f"is there {n_columns} times" if n_columns else "is missing"
                raise ShardError(
                    f"{table}: source.{setting} names the column '{name}', which {fault}: choose from "
                    f"{', '.join(schema.names)}"
                )

    def _id_type(self, table: str, schema: pa.Schema) -> pa.DataType:
        kind = schema.field(self._source.id_field).type
        if not (is_id(kind) or is_binary(kind)):
            # Their texts differ from file to file: 1 is also 1.00 or True.
            raise ShardError(
                f"{table}: source.id_field is '{self._source.id_field}', a column of type {kind}, not of texts or "
                f"whole numbers: write ids as text or int64"
            )
        return kind

    @contextmanager
    def _table(self, file: str) -> Iterator[ParquetBatches]:
        table = table_path(file, self._source.layout)
        try:
            handle = self._root.fs.open(full_path(self._root, table), "rb")
        except FileNotFoundError as error:
            raise ShardError(
                f"{file}: its metadata {table} is missing: add it, with one row per embedding"
            ) from error
        with StorageFile(handle, table) as opened:
            try:
                yield open_batches(opened)
            except DamagedFileError as damage:
                raise ShardError(
                    f"{table}: cannot be read as Parquet ({damage.detail}): write it again"
                ) from damage


READER = EmbeddingsReader


def table_path(array: str, layout: str) -> str:
    """Path of the Parquet that belongs to an array, or the pattern for a pattern."""
    name = _CLIP_RETRIEVAL_NAME.fullmatch(array) if layout == "clip_retrieval" else None
    if name is not None:
        return f"metadata/metadata_{name[1]}{_TABLE_SUFFIX}"
    return array.removesuffix(_ARRAY_SUFFIX) + _TABLE_SUFFIX
