"""Parquet with the images inside, as Hugging Face `datasets` reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curation_assets.formats.base import DatasetWriter, RawSample

# The type of `datasets.Image`; with any other it would ignore the feature and show a plain struct.
IMAGE_TYPE = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])
SAMPLE_FIELDS = (
    pa.field("sample_id", pa.string()),
    pa.field("image", IMAGE_TYPE),
    pa.field("caption", pa.string()),
    pa.field("source_file", pa.string()),
    pa.field("source_member", pa.string()),
)
ROW_GROUP_BYTES = 32 * 2**20
# A binary column of one row group counts its bytes in 32 bits.
MAX_ROW_GROUP_BYTES = 2**31 - 2**20


class ParquetWriter(DatasetWriter):
    """Writes one row per sample: its id, image, caption and source, then the columns of its record.

    `image` is the encoded image with its member's name, and the schema says so in the way of Hugging Face:
    `datasets.load_dataset("parquet", data_files=...)` decodes it. `caption` is the sample's `txt` part, or
    null; bytes in it that are no UTF-8 become U+FFFD. Compressed with zstd. Equal samples in equal order give
    equal bytes under the same pyarrow. Peak memory is about three times `row_group_bytes`.
    """

    suffix = "parquet"

    def __init__(
        self, path: Path, *, record_schema: pa.Schema, row_group_bytes: int = ROW_GROUP_BYTES
    ) -> None:
        """Set where to write and which columns the records have.

        Args:
            path: local file, made on entering and overwritten if it exists.
            record_schema: the record's own columns, in order, e.g. `level_1: int64`, `distance: float32`.
            row_group_bytes: image bytes of a row group; only an image above it makes a larger one.

        Raises:
            ValueError: if a column of the record has the name of a sample's own, or `row_group_bytes` is out
                of range.
        """
        if not 1 <= row_group_bytes <= MAX_ROW_GROUP_BYTES:
            raise ValueError(
                f"row_group_bytes is {row_group_bytes:,}: choose from 1 to {MAX_ROW_GROUP_BYTES:,}"
            )
        own_names = [field.name for field in SAMPLE_FIELDS]
        if taken := sorted(set(own_names) & set(record_schema.names)):
            raise ValueError(f"record_schema repeats columns every file has: leave out {', '.join(taken)}")
        features = {"info": {"features": {"image": {"_type": "Image"}}}}
        self._schema = pa.schema(
            [*SAMPLE_FIELDS, *record_schema], metadata={"huggingface": json.dumps(features, sort_keys=True)}
        )
        self._path = path
        self._row_group_bytes = row_group_bytes
        self._rows: list[dict[str, Any]] = []
        self._buffered_bytes = 0

    def __enter__(self) -> ParquetWriter:
        # Neither a dictionary nor minima and maxima are of use for images, each would copy them.
        plain_columns = [name for name in self._schema.names if name != "image"]
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

        The record may also hold `sample_id`, `source_file` or `source_member`, which then override the
        sample's. A column the record lacks is null.

        Raises:
            ValueError: if the record has a key that is no column.
            pyarrow.ArrowException: when the row group is written, if a value does not fit its column's type.
        """
        if unknown := sorted(set(record) - set(self._schema.names)):
            raise ValueError(
                f"the record has {', '.join(unknown)}, which record_schema lacks: add or drop them"
            )
        caption = sample.parts.get("txt")
        row = {
            "sample_id": sample.sample_id,
            "image": {"bytes": sample.content, "path": sample.member},
            "caption": None if caption is None else caption.decode("utf-8", errors="replace"),
            "source_file": sample.file,
            "source_member": sample.member,
            **record,
        }
        if self._rows and self._buffered_bytes + len(sample.content) > self._row_group_bytes:
            self._flush()
        self._rows.append(row)
        self._buffered_bytes += len(sample.content)

    def _flush(self) -> None:
        if not self._rows:
            return
        self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
        self._rows.clear()
        self._buffered_bytes = 0
