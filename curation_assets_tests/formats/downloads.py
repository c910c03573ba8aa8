"""A pool as img2dataset leaves it: per shard a tar, a Parquet with a row per URL, and its counts as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from webdataset import TarWriter

from curation_assets_tests.formats.tars import image_bytes

SCHEMA = pa.schema(
    [
        ("url", pa.string()),
        ("caption", pa.string()),
        ("key", pa.string()),
        ("status", pa.string()),
        ("error_message", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("original_width", pa.int32()),
        ("original_height", pa.int32()),
        ("exif", pa.string()),
        ("sha256", pa.string()),
    ]
)


@dataclass
class Download:
    url: str
    caption: str = "a caption"
    error: str | None = None
    status: str = "failed_to_download"


def write_shard(folder: Path, downloads: list[Download], shard: int = 0) -> None:
    """What one worker writes; keys are the shard's number in 5 digits and the sample's in 4."""
    rows = []
    with TarWriter(str(folder / f"{shard:05}.tar")) as tar:
        for n, download in enumerate(downloads):
            row = {"url": download.url, "caption": download.caption, "key": f"{shard:05}{n:04}"}
            row |= {"status": download.status, "error_message": download.error}
            if download.error is None:
                row |= {"status": "success", "width": 8, "height": 6, "exif": "{}", "sha256": "0" * 64}
                image = image_bytes((n, 0, 0), image_format="JPEG")
                document = json.dumps({name: row.get(name) for name in SCHEMA.names}, indent=4)
                tar.write({"__key__": row["key"], "jpg": image, "txt": row["caption"], "json": document})
            rows.append(row)
    with pq.ParquetWriter(folder / f"{shard:05}.parquet", SCHEMA) as writer:
        for first in range(0, len(rows), 100):
            writer.write_table(pa.Table.from_pylist(rows[first : first + 100], schema=SCHEMA))
    n_failed = sum(row["status"] == "failed_to_download" for row in rows)
    n_failed_to_resize = sum(row["status"] == "failed_to_resize" for row in rows)
    stats = {
        "count": len(rows),
        "successes": len(rows) - n_failed - n_failed_to_resize,
        "failed_to_download": n_failed,
        "failed_to_resize": n_failed_to_resize,
    }
    (folder / f"{shard:05}_stats.json").write_text(json.dumps(stats, indent=4))
