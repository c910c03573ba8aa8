"""Walks a folder of this machine: links to folders are followed, and what cannot be listed is an error."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from enum import Enum

from curation_assets.errors import PoolSpecError
from curation_assets.formats.base import SourceFile

MISSING = "missing"
"""Version of a link to nothing."""


class EntryKind(Enum):
    """What an entry of a folder is."""

    FILE = "a file"
    SPECIAL = "a pipe, socket or device"
    FOLDER = "a folder that is not entered"
    AGAIN = "a link to a folder that is listed anyway"


def walk_folder(
    root: str, depth: int | None, enters: Callable[[str], bool]
) -> Iterator[tuple[SourceFile, EntryKind]]:
    """Every file below a folder; each folder is listed once, first by its own name, then by links to it.

    Args:
        root: the folder.
        depth: folders below it to enter, counted from 1 for its own files; None for all.
        enters: whether to enter the folder of a path below the root.

    Raises:
        PoolSpecError: if a folder cannot be listed: what is not seen must not count as removed.
    """
    seen: set[tuple[int, int]] = set()
    links: list[tuple[str, int]] = []
    folders: list[tuple[str, int]] = [("", 1)]
    while folders or links:
        if not folders:
            links.sort(reverse=True)
        folder, level = folders.pop() if folders else links.pop()
        try:
            facts = os.stat(f"{root}/{folder}")  # noqa: PTH116 - a path object for each file costs more than the look
            if (facts.st_dev, facts.st_ino) in seen:
                yield SourceFile(folder, 0, ""), EntryKind.AGAIN
                continue
            seen.add((facts.st_dev, facts.st_ino))
            below = []
            with os.scandir(f"{root}/{folder}") as entries:
                for entry in entries:
                    path = f"{folder}/{entry.name}" if folder else entry.name
                    if not entry.is_dir():
                        yield _file(path, entry)
                    elif (depth is not None and level >= depth) or not enters(path):
                        yield SourceFile(path, 0, ""), EntryKind.FOLDER
                    elif entry.is_symlink():
                        links.append((path, level + 1))
                    else:
                        below.append((path, level + 1))
            folders += sorted(below, reverse=True)
        except OSError as error:
            raise cannot_be_listed(folder or root, error) from error


def cannot_be_listed(folder: str, error: OSError) -> PoolSpecError:
    """The error for a folder of the pool that cannot be listed."""
    return PoolSpecError(
        f"the folder '{folder}' of the pool cannot be listed ({type(error).__name__}: {error.strerror or error}): "
        f"nothing is decided before it can; mend its rights or mount it, and try again"
    )


def local_version(path: str) -> str:
    """Version of a file of this machine: its modification time in nanoseconds."""
    try:
        return str(os.stat(path).st_mtime_ns)  # noqa: PTH116 - see `walk_folder`
    except FileNotFoundError:
        # A broken link, or a removed file; reading it fails its shard only.
        return MISSING


def _file(path: str, entry: os.DirEntry[str]) -> tuple[SourceFile, EntryKind]:
    try:
        facts = entry.stat()
    except FileNotFoundError:
        return SourceFile(path, 0, MISSING), EntryKind.FILE
    kind = EntryKind.FILE if stat.S_ISREG(facts.st_mode) else EntryKind.SPECIAL
    return SourceFile(path, facts.st_size, str(facts.st_mtime_ns)), kind
