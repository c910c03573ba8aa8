"""Parquet with the samples inside, as Hugging Face `datasets` reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from curation_assets.formats.attributes import attributes_json
from curation_assets.formats.base import DatasetWriter, RawSample
from curation_assets.formats.tar.safe_names import safe_file_name

# The type of `datasets.Image`; with any other type, `datasets` ignores the feature and shows a plain struct.
IMAGE_TYPE = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])
_CONTENT_FIELDS = {
    "image": (pa.field("image", IMAGE_TYPE), pa.field("caption", pa.string())),
    "text": (pa.field("text", pa.string()),),
}
_SOURCE_FIELDS = (pa.field("source_file", pa.string()), pa.field("source_member", pa.string()))
METADATA_FIELD = pa.field("metadata", pa.string())
ROW_GROUP_BYTES = 32 * 2**20
# A binary column of one row group counts its bytes in 32 bits.
MAX_ROW_GROUP_BYTES = 2**31 - 2**20
MAX_ROW_GROUP_ROWS = 65_536


class ParquetWriter(DatasetWriter):
    """Writes one row per sample: its id, content, source and metadata, then the columns of its record.

    In an image pool, `image` has the encoded image and its member's name, declared in the schema as a Hugging Face
    image so that `datasets.load_dataset` decodes it; `caption` is the sample's part `txt`, else the first one whose
    extension ends in `.txt`, else null (invalid UTF-8 becomes U+FFFD). In a text pool, `text` has the content.
    `metadata` is the JSON of the sample's attributes but the caption, or null. Compressed with zstd. Equal samples in
    equal order give equal bytes with the same version of pyarrow. Peak memory is about three times `row_group_bytes`.

    Args:
        path: local file, made on entering and overwritten if it exists.
        record_schema: the record's own columns, in order, e.g. `level_1: int64`, `distance: float32`.
        modality: of the samples' content.
        row_group_bytes: most bytes of content and metadata in a row group of more than one sample.

    Raises:
        ValueError: if a column of the record is named like one of the sample's own, or `row_group_bytes` is out of
            range.
    """

    def __init__(
        self,
        path: Path,
        *,
        record_schema: pa.Schema,
        modality: Literal["image", "text"] = "image",
        row_group_bytes: int = ROW_GROUP_BYTES,
    ) -> None:
        if not 1 <= row_group_bytes <= MAX_ROW_GROUP_BYTES:
            raise ValueError(
                f"row_group_bytes is {row_group_bytes:,}: choose from 1 to {MAX_ROW_GROUP_BYTES:,}"
            )
        own_fields = [
            pa.field("sample_id", pa.string()),
            *_CONTENT_FIELDS[modality],
            *_SOURCE_FIELDS,
            METADATA_FIELD,
        ]
        own_names = [field.name for field in own_fields]
        if taken := sorted(set(own_names) & set(record_schema.names)):
            raise ValueError(f"record_schema repeats columns every file has: leave out {', '.join(taken)}")
        self._schema = pa.schema([*own_fields, *record_schema])
        if modality == "image":
            features = {"info": {"features": {"image": {"_type": "Image"}}}}
            self._schema = self._schema.with_metadata({"huggingface": json.dumps(features, sort_keys=True)})
        self._path = path
        self._modality = modality
        self._row_group_bytes = row_group_bytes
        self._rows: list[dict[str, Any]] = []
        self._buffered_bytes = 0

    def __enter__(self) -> ParquetWriter:
        # A dictionary, minima and maxima are useless for contents, and each would copy them.
        plain_columns = [name for name in self._schema.names if name != self._modality]
        self._writer = pq.ParquetWriter(
            self._path,
            self._schema,
            compression="zstd",
            use_dictionary=plain_columns,
            write_statistics=plain_columns,
        )
        return self

    def __exit__(self, *exc_info: object) -> None:
        if exc_info[0] is None:
            self._flush()
        self._writer.close()

    def write(self, sample: RawSample, record: Mapping[str, Any]) -> None:
        """Add one sample.

        `sample_id`, `source_file` and `source_member` of the record override the sample's. A column that the record
        lacks is null.

        Raises:
            ValueError: if a key of the record is not a column.
            pyarrow.ArrowException: when the row group is written, if a value does not fit its column's type.
        """
        if unknown := sorted(set(record) - set(self._schema.names)):
            raise ValueError(
                f"the record has {', '.join(unknown)}, which record_schema lacks: add or drop them"
            )
        caption = self._caption_part(sample)
        others = {name: value for name, value in sample.attributes.items() if name != caption}
        metadata = attributes_json(others)
        row = {
            "sample_id": sample.sample_id,
            **self._content(sample, caption),
            "source_file": sample.file,
            "source_member": sample.member,
            "metadata": metadata,
            **record,
        }
        n_bytes = len(sample.content) + len(metadata or "")
        if self._rows and (
            self._buffered_bytes + n_bytes > self._row_group_bytes or len(self._rows) >= MAX_ROW_GROUP_ROWS
        ):
            self._flush()
        self._rows.append(row)
        self._buffered_bytes += n_bytes

    def _caption_part(self, sample: RawSample) -> str | None:
        """Extension of the part that is the caption of an image."""
        if self._modality == "text":
            return None
        if "txt" in sample.parts:
            return "txt"
        return next((extension for extension in sample.parts if extension.endswith(".txt")), None)

    def _content(self, sample: RawSample, caption: str | None) -> dict[str, Any]:
        if self._modality == "text":
            return {"text": sample.content.decode("utf-8-sig", errors="replace")}
        # A row of a table has no file name.
        path = None if sample.member.startswith("row ") else safe_file_name(sample.member)
        text = None if caption is None else sample.parts[caption].decode("utf-8", errors="replace")
        return {"image": {"bytes": sample.content, "path": path}, "caption": text}

    def _flush(self) -> None:
        if not self._rows:
            return
        self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
        self._rows.clear()
        self._buffered_bytes = 0
