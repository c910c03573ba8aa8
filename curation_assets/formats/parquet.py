"""Reads Parquet with one row per sample, as Hugging Face datasets, img2dataset and polars write it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa

from curation_assets.errors import ShardError
from curation_assets.formats.accounts import Account
from curation_assets.formats.arrow.batches import MAGIC, open_batches
from curation_assets.formats.arrow.rows import in_known_zones, python_rows
from curation_assets.formats.arrow.types import (
    holds_binary,
    is_float,
    is_id,
    is_image,
    is_text,
    most_exact,
    times_as_text,
)
from curation_assets.formats.attributes import encode_attributes
from curation_assets.formats.base import (
    DamagedFileError,
    RawSample,
    RejectedSampleError,
    Rejection,
    RejectionReason,
    SourceFile,
)
from curation_assets.formats.image_extensions import IMAGE_EXTENSIONS, sniff_extension
from curation_assets.formats.listing import PatternReader
from curation_assets.formats.opening import ends_with, first_bytes, open_file
from curation_assets.formats.rows import RowIds
from curation_assets.locations import shows_whole_files
from curation_assets.pools.source import ParquetSource


class ParquetReader(PatternReader[ParquetSource]):
    """Streams the rows of Parquet files; `offset` is a row's number in its file, from 0."""

    def is_closed(self, file: SourceFile) -> bool:
        """Whether a file ends in Parquet's magic bytes, or does not begin with them."""
        if shows_whole_files(self._root):
            return True
        head = first_bytes(self._root, file.path, len(MAGIC))
        if len(head) == len(MAGIC) and head != MAGIC:
            return True
        return file.size_bytes > 2 * len(MAGIC) and ends_with(self._root, file.path, MAGIC)

    def read(self, file: str, account: Account | None = None) -> Iterator[RawSample | Rejection]:
        """See `ShardReader.read`; peak memory is a few batches of about 16 MiB (or one row), and the largest page.

        Most writers cut pages at 1 MiB or 1,024 rows.

        Raises:
            ShardError: also if a column that the source names is missing or of the wrong type.
        """
        account = account or Account()
        with open_file(self._root, file) as handle:
            try:
                batches = open_batches(handle)
                layout = _Layout.of(batches.schema, self._source, file)
                judge = _Judge(file, self._source, layout)
                for first_row, batch in batches.iterate(layout.columns):
                    account.n_seen += batch.num_rows
                    for i, values in enumerate(python_rows(times_as_text(in_known_zones(batch)))):
                        yield account.took(judge.conclude(first_row + i, values))
            except DamagedFileError as error:
                yield Rejection(file, file, None, error.reason, error.detail)
                return
        account.require_balance(file)
        if not batches.n_rows:
            yield Rejection(file, file, None, RejectionReason.EMPTY_FILE, "the file has no rows")


READER = ParquetReader


@dataclass(frozen=True, slots=True)
class _Layout:
    content: str
    """Column of images or texts."""
    columns: list[str]
    """Columns that are read: the content and all that JSON can represent."""
    float_ids: tuple[str, int] | None
    """See `RowIds`; None if there is no column of ids, or none of floats."""

    @classmethod
    def of(cls, schema: pa.Schema, source: ParquetSource, file: str) -> _Layout:
        """Check the columns that the source names.

        Raises:
            ShardError: if one is missing or of the wrong type.
        """
        key = "image_field" if source.modality == "image" else "text_field"
        content = source.image_field if source.modality == "image" else source.text_field
        wanted = is_image if source.modality == "image" else is_text
        kind = "bytes or structs of bytes and path" if source.modality == "image" else "texts"
        _require_column(schema, key, content, wanted, kind, file)
        if source.id_field is not None:
            _require_column(schema, "id_field", source.id_field, is_id, "texts or whole numbers", file)
        for name in source.label_fields:
            _require_column(schema, "label_fields", name, lambda kind: not holds_binary(kind), "labels", file)
        others = [field.name for field in schema if not holds_binary(field.type) and field.name != content]
        ids = None if source.id_field is None else schema.field(source.id_field).type
        return cls(
            content, [content, *others], (str(ids), most_exact(ids)) if ids and is_float(ids) else None
        )


def _require_column(schema: pa.Schema, key: str, name: str, wanted: Any, kind: str, file: str) -> None:
    if schema.names.count(name) != 1:
        how_many = "has no column" if name not in schema.names else "has more than one column"
        raise ShardError(
            f"{file}: source.{key} is '{name}', but the file {how_many} of that name; its columns are "
            f"{', '.join(schema.names) or 'none'}: correct source.{key}"
        )
    found = schema.field(name).type
    if not wanted(found):
        raise ShardError(
            f"{file}: source.{key} is '{name}', a column of type {found}, not of {kind}; the columns are "
            f"{', '.join(f'{field.name} ({field.type})' for field in schema)}: correct source.{key}"
        )


class _Judge:
    """Decides which rows of one file are samples."""

    def __init__(self, file: str, source: ParquetSource, layout: _Layout) -> None:
        self._file = file
        self._source = source
        self._layout = layout
        self._ids = RowIds(file, source.id_field, "row", layout.float_ids)

    def conclude(self, row: int, values: dict[str, Any] | RejectedSampleError) -> RawSample | Rejection:
        sample_id = self._ids.fallback(row)
        member = f"row {row}"
        try:
            if isinstance(values, RejectedSampleError):
                raise values
            sample_id = self._ids.take(row, values)
            self._ids.refuse_duplicate(sample_id, row)
            attributes = {name: value for name, value in values.items() if name != self._layout.content}
            content, extension = self._content_of(values)
            parts = {extension: content, "json": encode_attributes(attributes)}
        except RejectedSampleError as error:
            return Rejection(sample_id, self._file, member, error.reason, error.detail)
        return RawSample(sample_id, self._file, member, row, content, parts, attributes)

    def _content_of(self, values: Mapping[str, Any]) -> tuple[bytes, str]:
        """The encoded image or text, and its extension."""
        value = values[self._layout.content]
        path = None
        if self._source.modality == "image" and isinstance(value, Mapping):
            path, value = value.get("path"), value["bytes"]
        if value is None:
            raise _missing_content(self._layout.content, path, values)
        if self._source.modality == "text":
            return (value if isinstance(value, bytes) else value.encode("utf-8")), "txt"
        return value, sniff_extension(value) or _extension_of(path)


def _missing_content(column: str, path: str | None, values: Mapping[str, Any]) -> RejectedSampleError:
    status = values.get("status")
    if "error_message" in values and status != "success":
        # img2dataset keeps the row of a failed download, without an image.
        detail = f"{status}: {values['error_message']} ({values.get('url')})"
        return RejectedSampleError(RejectionReason.DOWNLOAD_FAILED, detail)
    if path is not None:
        detail = (
            f"the column '{column}' only names the file {path}: embed it (datasets.table.embed_table_storage)"
        )
    else:
        detail = f"the column '{column}' is null"
    return RejectedSampleError(RejectionReason.MISSING_FIELD, detail)


def _extension_of(path: str | None) -> str:
    extension = PurePosixPath(path or "").suffix.lower().removeprefix(".")
    return extension if extension in IMAGE_EXTENSIONS else "bin"
