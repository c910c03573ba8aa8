"""The location of a pool, its files, and their versions."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Generic, Protocol, TypeVar

from upath import UPath

from curation_assets.errors import PoolSpecError
from curation_assets.formats.base import ShardReader, SourceFile
from curation_assets.locations import is_local

# Names of facts that change with a file's content, in object stores, HTTP, WebDAV and memory.
VERSION_FIELDS = ("etag", "generation", "versionid", "content_md5", "md5", "mtime", "last_modified")
WEAKER_VERSION_FIELDS = ("lastmodified", "modified", "updated", "created")
# pyarrow, Spark and Hive skip both; img2dataset and Spark keep unfinished work under such names.
HIDDEN_PREFIXES = (".", "_")
TEMPORARY_SUFFIXES = ("~", ".tmp", ".temp", ".part", ".partial", ".crdownload")


class PatternSettings(Protocol):
    """Settings of a source whose files match a pattern."""

    @property
    def pattern(self) -> str:
        """Glob below the pool's folder."""


Source = TypeVar("Source", bound=PatternSettings)


class PatternReader(ShardReader, Generic[Source]):
    """A reader of the files that match `source.pattern`.

    Args:
        root: the pool's folder, on any file system that fsspec knows.
        source: the pool's `source` settings.
    """

    def __init__(self, root: UPath, source: Source) -> None:
        self._root = root
        self._source = source

    def list_files(self) -> list[SourceFile]:
        """See `ShardReader.list_files`; without hidden and unfinished files."""
        return list_matching_files(self._root, self._source.pattern)


def resolve_location(path: str, home: Path) -> UPath:
    """The location that `source.path` names.

    Args:
        path: a folder or any fsspec URI; a relative folder is relative to `home`, and `~` is expanded.
        home: folder of the project.
    """
    if "://" in path:
        return UPath(path)
    return UPath(home / Path(path).expanduser())


def list_matching_files(
    root: UPath, pattern: str, *, extensions: Collection[str] | None = None
) -> list[SourceFile]:
    """List the files below `root` that match a glob, sorted by path.

    Files and folders whose names start with `.` or `_`, and unfinished downloads, are skipped.

    Args:
        root: the pool's folder.
        pattern: glob below it; `**` crosses folders.
        extensions: to list, lower-case and without dot; None lists all.

    Raises:
        PoolSpecError: if `root` does not exist, no file matches, or a name is not valid UTF-8.
    """
    file_system, folder = root.fs, root.path.rstrip("/")
    # fsspec caches listings, and a sensor's process lives for days.
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
            f"source.pattern is '{pattern}', which matches no file{only} in '{root}' (names that start with '.' or "
            f"'_' or end in {', '.join(TEMPORARY_SUFFIXES)} are skipped): correct the pattern or add files"
        )
    return sorted(files, key=lambda file: file.path)


def list_one_file(path: UPath) -> SourceFile | None:
    """Size and version of a file, whatever its name; None if it does not exist."""
    path.fs.invalidate_cache()
    try:
        facts = path.fs.info(path.path)
    except FileNotFoundError:
        return None
    if facts["type"] == "directory":
        return None
    return SourceFile(path.name, int(facts.get("size") or 0), _version(path, path.path, facts))


def _require_unicode(path: str) -> None:
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        # Ids and tables are UTF-8. Without an error, the sample would have no fate.
        raise PoolSpecError(
            f"the file name {path!a} of the pool is not valid UTF-8: rename the file, e.g. with convmv"
        ) from None


def _is_hidden_or_temporary(path: str) -> bool:
    return path.endswith(TEMPORARY_SUFFIXES) or any(
        part.startswith(HIDDEN_PREFIXES) for part in PurePosixPath(path).parts
    )


def _version(root: UPath, path: str, facts: Mapping[str, Any]) -> str:
    if is_local(root):
        try:
            # fsspec's mtime is a float, which is too coarse for nanoseconds.
            return str(Path(path).stat().st_mtime_ns)
        except FileNotFoundError:
            # A broken link, or a removed file; reading it fails its shard only.
            return "missing"
    by_name = {name.lower().replace("-", "_"): value for name, value in facts.items()}
    for names in (VERSION_FIELDS, WEAKER_VERSION_FIELDS):
        if known := [f"{name}={by_name[name]}" for name in names if by_name.get(name)]:
            return hashlib.sha256("\n".join([*known, f"size={facts.get('size')}"]).encode()).hexdigest()[:32]
    return f"size={facts.get('size')}"
