"""Where a pool's files lie, which there are, and what tells one version of a file from the next."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from upath import UPath

from curation_assets.errors import PoolSpecError
from curation_assets.formats.base import SourceFile
from curation_assets.locations import is_local

# What file systems call the facts that change with a file's content: object stores, HTTP, WebDAV, memory.
VERSION_FIELDS = ("etag", "generation", "versionid", "content_md5", "md5", "mtime", "last_modified")
WEAKER_VERSION_FIELDS = ("lastmodified", "modified", "updated", "created")
# pyarrow, Spark and Hive leave both out of a data set; img2dataset and Spark keep unfinished work there.
HIDDEN_PREFIXES = (".", "_")
TEMPORARY_SUFFIXES = ("~", ".tmp", ".temp", ".part", ".partial", ".crdownload")


def resolve_location(path: str, home: Path) -> UPath:
    """Turn `source.path` into a location.

    Args:
        path: a folder or any fsspec URI; a relative folder counts from `home`, `~` is expanded.
        home: folder of the project.
    """
    if "://" in path:
        return UPath(path)
    return UPath(home / Path(path).expanduser())


def list_matching_files(
    root: UPath, pattern: str, *, extensions: Collection[str] | None = None
) -> list[SourceFile]:
    """List the files below `root` that match a glob, sorted by path.

    Names that start with `.` or `_` (the folders' too) and names of unfinished downloads are left out.

    Args:
        root: the pool's folder.
        pattern: glob below it; `**` spans folders.
        extensions: lower-case, without dot; files with others are left out. None takes all.

    Raises:
        PoolSpecError: if `root` does not exist, no file matches, or a name is no Unicode.
    """
    file_system, folder = root.fs, root.path.rstrip("/")
    # A sensor's process lives for days, and fsspec would go on showing it the listing of the first tick.
    file_system.invalidate_cache()
    if not file_system.isdir(folder or "/"):
        raise PoolSpecError(f"source.path is '{root}', which is not a folder: create it or correct the path")
    found: Mapping[str, Mapping[str, Any]] = file_system.glob(f"{glob.escape(folder)}/{pattern}", detail=True)
    files = []
    for full_path, facts in found.items():
        path = full_path.removeprefix(folder).strip("/")
        if facts["type"] == "directory" or _is_hidden_or_temporary(path):
            continue
        if extensions is not None and PurePosixPath(path).suffix.lower().removeprefix(".") not in extensions:
            continue
        _require_unicode(path)
        files.append(SourceFile(path, int(facts.get("size") or 0), _version(root, full_path, facts)))
    if not files:
        only = "" if extensions is None else f" with an extension of {' '.join(extensions)}"
        raise PoolSpecError(
            f"source.pattern is '{pattern}', which matches no file{only} of '{root}' (names that start with '.' or "
            f"'_' or end like {', '.join(TEMPORARY_SUFFIXES)} do not count): correct the pattern or add files"
        )
    return sorted(files, key=lambda file: file.path)


def _require_unicode(path: str) -> None:
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        # Ids and tables are UTF-8; left out in silence, the sample would have no fate.
        raise PoolSpecError(
            f"the file name {path!a} of the pool is no UTF-8: rename the file, e.g. with convmv"
        ) from None


def _is_hidden_or_temporary(path: str) -> bool:
    return path.endswith(TEMPORARY_SUFFIXES) or any(
        part.startswith(HIDDEN_PREFIXES) for part in PurePosixPath(path).parts
    )


def _version(root: UPath, path: str, facts: Mapping[str, Any]) -> str:
    if is_local(root):
        try:
            # fsspec's own mtime is a float, which is too coarse for nanoseconds.
            return str(Path(path).stat().st_mtime_ns)
        except FileNotFoundError:
            # A broken link, or removed since: reading it says so for its shard, the others go on.
            return "missing"
    by_name = {name.lower().replace("-", "_"): value for name, value in facts.items()}
    for names in (VERSION_FIELDS, WEAKER_VERSION_FIELDS):
        if known := [f"{name}={by_name[name]}" for name in names if by_name.get(name)]:
            return hashlib.sha256("\n".join([*known, f"size={facts.get('size')}"]).encode()).hexdigest()[:32]
    return f"size={facts.get('size')}"
