"""A manifest: a table that names the files of a pool, so that its folder need not be listed."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from upath import UPath

from curation_assets.errors import PoolSpecError
from curation_assets.formats.base import SourceFile

if TYPE_CHECKING:
    import pyarrow as pa

SIZE = "size"
VERSIONS = ("version", "etag", "modified")
"""Columns of what changes with a file; the first one that is there counts."""
_NAMES_SHOWN = 3
_URI = re.compile(r"[\w+.-]+://")


def read_manifest(path: UPath) -> list[SourceFile]:
    """The files that a manifest names, in its order.

    Args:
        path: a Parquet file, or CSV with a header, plain or compressed (.gz), with the columns `path`, `size` and one
            of `version`, `etag` and `modified`.

    Raises:
        PoolSpecError: if it does not exist, cannot be read, lacks a column or a value, names a file twice, or names
            one outside the pool's folder.
    """
    where = f"source.manifest is '{path.name}'"
    try:
        table = _read(path)
    except FileNotFoundError as error:
        raise PoolSpecError(f"{where}, but there is no such file below source.path") from error
    # Arrow and the clients of object stores raise errors that share no base class.
    except Exception as error:
        words = " ".join(str(error).split())
        raise PoolSpecError(f"{where}, which cannot be read ({type(error).__name__}: {words})") from error
    version = next((name for name in VERSIONS if name in table.column_names), None)
    missing = [name for name in ("path", SIZE) if name not in table.column_names]
    if missing or version is None:
        lacks = [*missing, *([] if version else [" or ".join(VERSIONS)])]
        raise PoolSpecError(
            f"{where}, which has no column {', '.join(lacks)}: it has {', '.join(table.column_names) or 'none'}"
        )
    paths = _texts(table, "path", where)
    versions = _texts(table, version, where)
    sizes = _sizes(table, where)
    _require_inside(paths, where)
    if repeated := [name for name, n in Counter(paths).items() if n > 1]:
        raise PoolSpecError(f"{where}, which names files more than once: {_shown(repeated)}")
    return [
        SourceFile(path, size, version_of(text))
        for path, size, text in zip(paths, sizes, versions, strict=True)
    ]


def version_of(text: str) -> str:
    """The version of a file, from what a manifest says of it: another for another text, and without its characters."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _read(path: UPath) -> pa.Table:
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq

    names = ("path", SIZE, *VERSIONS)
    with path.open("rb") as file:
        if path.name.endswith(".parquet"):
            parquet = pq.ParquetFile(file)
            return parquet.read([name for name in parquet.schema_arrow.names if name in names])
        # Types are not guessed: `007` and `1e5` are names.
        texts = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()))
        stream = pa.CompressedInputStream(file, "gzip") if path.name.endswith(".gz") else file
        return pyarrow.csv.read_csv(stream, convert_options=texts)


def _texts(table: pa.Table, name: str, where: str) -> list[str]:
    import pyarrow as pa

    try:
        texts: list[str | None] = table.column(name).cast(pa.string()).to_pylist()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise PoolSpecError(
            f"{where}, whose column {name} is no text: {table.schema.field(name).type}"
        ) from error
    for number, text in enumerate(texts):
        if not text:
            raise PoolSpecError(f"{where}, which has no {name} in row {number}")
    return [text for text in texts if text]


def _sizes(table: pa.Table, where: str) -> list[int]:
    import pyarrow as pa

    column = table.column(SIZE)
    try:
        sizes: list[Any] = column.cast(pa.int64()).to_pylist()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        words = " ".join(str(error).split())
        raise PoolSpecError(f"{where}, whose column {SIZE} is no number of bytes: {words}") from error
    for number, size in enumerate(sizes):
        if size is None or size < 0:
            raise PoolSpecError(f"{where}, which has the {SIZE} {size} in row {number}: give bytes")
    return sizes


def _require_inside(paths: list[str], where: str) -> None:
    outside = [path for path in paths if path.startswith("/") or _URI.match(path) or _is_odd(path)]
    if outside:
        raise PoolSpecError(
            f"{where}, which names files by other paths than those below source.path: {_shown(outside)}: write "
            f"paths like 'a/b.jpg'"
        )


def _is_odd(path: str) -> bool:
    """Whether a path leads out of the folder, or could be written in a shorter way."""
    return (".." in path and ".." in path.split("/")) or (
        ("//" in path or "./" in path or path.endswith("/")) and str(PurePosixPath(path)) != path
    )


def _shown(names: list[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more:,} more" if more > 0 else "")
