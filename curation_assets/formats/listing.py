"""The location of a pool, its files, and their versions."""

from __future__ import annotations

import glob
import itertools
import operator
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, Generic, Protocol, TypeVar

from fsspec.utils import glob_translate
from upath import UPath

from curation_assets.errors import PoolSpecError
from curation_assets.formats.accounts import Cause, LeftOutCounts, left_out_lines
from curation_assets.formats.base import Listing, ShardReader, SourceFile
from curation_assets.formats.listed.links import REMEDY, FollowLinks, admitted_targets, named, require_inside
from curation_assets.formats.listed.manifest import read_manifest
from curation_assets.formats.listed.names import has_no_extension, is_companion
from curation_assets.formats.listed.versions import (
    Check,
    content_version,
    local_version,
    passing_inodes,
    remote_version,
)
from curation_assets.formats.local_walk import EntryKind, cannot_be_listed, walk_folder
from curation_assets.locations import OBJECT_STORES, is_local

# pyarrow, Spark and Hive skip both; img2dataset and Spark keep unfinished work under such names.
HIDDEN_PREFIXES = (".", "_")
# Checksums, indexes, signatures and states of downloads, which lie beside the files that they are about.
SIDECAR_SUFFIXES = (
    ".md5", ".sha1", ".sha256", ".sha512", ".crc", ".crc32", ".idx", ".index", ".sig", ".asc", ".lock", ".etag",
    ".aria2", ".done", ".torrent",
)  # fmt: skip
TEMPORARY_SUFFIXES = ("~", ".tmp", ".temp", ".part", ".partial", ".crdownload")


class PatternSettings(Protocol):
    """Settings of a source whose files match a pattern."""

    @property
    def pattern(self) -> str:
        """Glob below the pool's folder."""

    @property
    def check(self) -> Check:
        """What a change of a file is known by."""

    @property
    def follow_links(self) -> FollowLinks | None:
        """Which links are followed that lead out of the pool's folder."""


_OF_KIND = {
    EntryKind.FOLDER: Cause.FOLDER, EntryKind.AGAIN: Cause.LISTED_ALREADY, EntryKind.SPECIAL: Cause.SPECIAL,
    EntryKind.LEADS_OUT: Cause.LEADS_OUT, EntryKind.FOLDER_LEADS_OUT: Cause.FOLDER_LEADS_OUT,
}  # fmt: skip
_OF_COMPANIONS = (Cause.HIDDEN, Cause.NOT_MATCHED, Cause.UNKNOWN_EXTENSION, Cause.FOLDER)
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

    def look(self) -> Listing:
        """See `ShardReader.look`; hidden and unfinished files are left out, and those that only describe another."""
        return list_matching_files(
            self._root, self._source.pattern, belongs_to=self.belongs_to, **self.ways_to_look
        )

    @property
    def ways_to_look(self) -> dict[str, Any]:
        """What the pool sets of `list_matching_files`."""
        return {
            "check": self._source.check,
            "follow_links": self._source.follow_links,
            "manifest": getattr(self._source, "manifest", None),
        }

    def belongs_to(self, path: str) -> str | None:
        """The file of the pool that a file which does not match the pattern belongs to, if any."""
        return None


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
    root: UPath,
    pattern: str,
    *,
    extensions: Collection[str] | None = None,
    belongs_to: Callable[[str], str | None] = lambda _: None,
    recognises: Callable[[SourceFile], bool] = lambda _: False,
    check: Check = "size_and_time",
    follow_links: FollowLinks | None = None,
    manifest: str | None = None,
) -> Listing:
    """List the files below `root` that match a glob.

    Files and folders whose names start with `.` or `_`, unfinished downloads, and sidecars such as checksums are left
    out. On this machine links that stay in the pool's folder are followed; elsewhere only what matches the pattern is
    seen.

    Args:
        root: the pool's folder.
        pattern: glob below it; `**` crosses folders.
        extensions: to list, lower-case and without dot; None lists all.
        belongs_to: gives for a file that does not match the file of the pool that is read with it; such a pair is
            not counted as left out.
        recognises: whether a file whose name has no extension is one of the pool after all.
        check: whether versions are digests of the content, which is read, where storage gives none.
        follow_links: whether links that lead out are followed; None refuses those to folders, and counts the others.
        manifest: table below `root` that names the files, see `listed.manifest`; the folder is not listed then.

    Raises:
        PoolSpecError: if `root` does not exist, no file matches, a folder cannot be listed, a name is not valid
            UTF-8, or a link leads to a folder outside and `follow_links` is None.
    """
    # fsspec caches listings, and a sensor's process lives for days.
    root.fs.invalidate_cache()
    if not root.fs.isdir(root.path.rstrip("/") or "/"):
        raise PoolSpecError(f"source.path is '{root}', which is not a folder: create it or correct the path")
    files, left_out, beside, example = [], LeftOutCounts(), [], ""
    links: dict[Cause, list[str]] = {Cause.LEADS_OUT: [], Cause.FOLDER_LEADS_OUT: []}
    for file, cause in _named(root, manifest, pattern) if manifest else _seen(root, pattern, follow_links):
        path = file.path
        if cause in (None, Cause.LEADS_OUT):
            cause = _why_left_out(path, extensions) or cause
        if cause in _OF_COMPANIONS and is_companion(path):
            cause = Cause.COMPANION
        elif cause is Cause.UNKNOWN_EXTENSION and has_no_extension(path) and recognises(file):
            cause = None
        if cause in links:
            links[cause].append(path)
        if cause is Cause.NOT_MATCHED and (owner := belongs_to(path)):
            beside.append((path, owner))
        elif cause is not None:
            left_out.add(cause, path)
            example = example or path
        else:
            _require_unicode(path)
            files.append(content_version(root, file) if check == "digest" else file)
    if follow_links is None:
        require_inside(links[Cause.FOLDER_LEADS_OUT])
    paths = {file.path for file in files} if beside else set()
    for path, owner in beside:
        if owner not in paths:
            left_out.add(Cause.NOT_MATCHED, path)
    if not files:
        if outside := links[Cause.LEADS_OUT]:
            raise PoolSpecError(
                f"every file of '{root}' that matches is a link that leads out of it ({named(outside)}): {REMEDY}"
            )
        only = "" if extensions is None else f" with an extension of {' '.join(extensions)}"
        there = f" ({'; '.join(left_out_lines(left_out.counts()))}; e.g. {example})" if example else ""
        raise PoolSpecError(
            f"source.pattern is '{pattern}', which matches no file{only} in '{root}'{there}: correct the pattern or "
            f"add files"
        )
    held_back = links[Cause.LEADS_OUT] if follow_links is None else ()
    return Listing(sorted(files, key=lambda file: file.path), left_out.counts(), frozenset(held_back))


def _named(root: UPath, manifest: str, pattern: str) -> Iterator[tuple[SourceFile, Cause | None]]:
    """Every file that a manifest names, with the cause if the pattern rules it out."""
    matches = re.compile(glob_translate(f"/{pattern}")).match
    facts = list_one_file(root / manifest)
    for file in _files_of(root / manifest, facts):
        yield file, None if matches(f"/{file.path}") else Cause.NOT_MATCHED


@lru_cache(maxsize=1)
def _files_of(path: UPath, facts: SourceFile | None) -> list[SourceFile]:
    """The files that a manifest names; while its facts are the same, a tick of the sensor does not read it again."""
    return read_manifest(path)


def _seen(
    root: UPath, pattern: str, follow_links: FollowLinks | None
) -> Iterator[tuple[SourceFile, Cause | None]]:
    """Every file that is seen, with the cause if its place or kind rules it out."""
    folder = root.path.rstrip("/")
    if root.protocol in OBJECT_STORES:
        # They list keys, not folders: one request for a thousand.
        found: Mapping[str, Mapping[str, Any]] = root.fs.glob(f"{glob.escape(folder)}/{pattern}", detail=True)
        for full_path, facts in found.items():
            if facts["type"] != "directory":
                path = full_path.removeprefix(folder).strip("/")
                yield SourceFile(path, int(facts.get("size") or 0), remote_version(facts)), None
        return
    parts = PurePosixPath(pattern).parts
    depth = None if any("**" in part for part in parts) else len(parts)
    fixed = list(itertools.takewhile(lambda part: not glob.has_magic(part), parts[:-1]))
    matches = re.compile(glob_translate(f"/{pattern}")).match

    def enters(path: str) -> bool:
        names = path.split("/")
        return not _is_hidden(names[-1]) and all(map(operator.eq, names, fixed))

    if is_local(root):
        walk = walk_folder(folder or "/", depth, enters, admitted_targets(folder or "/", follow_links))
    else:
        walk = _walk_remotely(root, depth, enters)
    for file, kind in walk:
        hidden = _is_hidden(file.path[file.path.rfind("/") + 1 :])
        cause = _OF_KIND.get(kind)
        if hidden and cause is Cause.FOLDER:
            cause = Cause.HIDDEN
        if cause in (None, Cause.LEADS_OUT) and not matches(f"/{file.path}"):
            cause = Cause.HIDDEN if hidden else Cause.NOT_MATCHED
        yield file, cause


def _walk_remotely(
    root: UPath, depth: int | None, enters: Callable[[str], bool]
) -> Iterator[tuple[SourceFile, EntryKind]]:
    """As `walk_folder`; fsspec's own walk and glob leave out what they cannot list."""
    prefix = f"{root.path.rstrip('/')}/"
    folders = [("", 1)]
    while folders:
        folder, level = folders.pop()
        try:
            entries = root.fs.ls(f"{prefix}{folder}".rstrip("/") or "/", detail=True)
        except OSError as error:
            raise cannot_be_listed(folder or str(root), error) from error
        for facts in sorted(entries, key=lambda facts: str(facts["name"])):
            path = str(facts["name"]).rstrip("/").removeprefix(prefix.rstrip("/")).strip("/")
            file = SourceFile(path, int(facts.get("size") or 0), remote_version(facts))
            if facts["type"] != "directory":
                yield file, EntryKind.FILE
            elif path and path != folder and enters(path) and (depth is None or level < depth):
                folders.append((path, level + 1))
            elif path and path != folder:
                yield file, EntryKind.FOLDER


def _why_left_out(path: str, extensions: Collection[str] | None) -> Cause | None:
    # Without path objects: they take half of the time of a listing.
    if _is_hidden(path) or any(f"/{prefix}" in path for prefix in HIDDEN_PREFIXES):
        return Cause.HIDDEN
    if path.endswith(TEMPORARY_SUFFIXES):
        return Cause.UNFINISHED
    ending = _ending(path)
    if extensions is not None and ending.removeprefix(".") not in extensions:
        return Cause.UNKNOWN_EXTENSION
    return Cause.SIDECAR if ending in SIDECAR_SUFFIXES else None


def _ending(path: str) -> str:
    name = path[path.rfind("/") + 1 :]
    dot = name.rfind(".")
    return name[dot:].lower() if 0 < dot < len(name) - 1 else ""


def _is_hidden(name: str) -> bool:
    return name.startswith(HIDDEN_PREFIXES)


def list_one_file(path: UPath) -> SourceFile | None:
    """Size and version of a file, whatever its name; None if it does not exist."""
    path.fs.invalidate_cache()
    try:
        facts = path.fs.info(path.path)
    except FileNotFoundError:
        return None
    if facts["type"] == "directory":
        return None
    version = (
        local_version(os.stat(str(path.path)), passing_inodes()) if is_local(path) else remote_version(facts)  # noqa: PTH116
    )
    return SourceFile(path.name, int(facts.get("size") or 0), version)


def _require_unicode(path: str) -> None:
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        # Ids and tables are UTF-8. Without an error, the sample would have no fate.
        raise PoolSpecError(
            f"the file name {path!a} of the pool is not valid UTF-8: rename the file, e.g. with convmv"
        ) from None
