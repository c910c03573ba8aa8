"""Walks a folder of this machine: links to folders are followed, and what cannot be listed is an error."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from enum import Enum

from curation_assets.errors import PoolSpecError
from curation_assets.formats.base import SourceFile
from curation_assets.formats.listed.versions import MISSING, local_version, passing_inodes


class EntryKind(Enum):
    """What an entry of a folder is."""

    FILE = "a file"
    SPECIAL = "a pipe, socket or device"
    FOLDER = "a folder that is not entered"
    AGAIN = "a link to a folder that is listed anyway"
    LEADS_OUT = "a link to a file that is not followed"
    FOLDER_LEADS_OUT = "a link to a folder that is not followed"


def walk_folder(
    root: str, depth: int | None, enters: Callable[[str], bool], follows: Callable[[str], bool]
) -> Iterator[tuple[SourceFile, EntryKind]]:
    """Every file below a folder; each folder is listed once, first by its own name, then by links to it.

    Args:
        root: the folder.
        depth: folders below it to enter, counted from 1 for its own files; None for all.
        enters: whether to enter the folder of a path below the root.
        follows: whether to follow the link of a full path.

    Raises:
        PoolSpecError: if a folder cannot be listed: what is not seen must not count as removed.
    """
    seen: set[tuple[int, int]] = set()
    passing = passing_inodes()
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
                    is_link, is_folder = entry.is_symlink(), _is_folder(entry)
                    if is_folder and ((depth is not None and level >= depth) or not enters(path)):
                        yield SourceFile(path, 0, ""), EntryKind.FOLDER
                    elif is_link and not follows(entry.path):
                        kind = EntryKind.FOLDER_LEADS_OUT if is_folder else EntryKind.LEADS_OUT
                        yield SourceFile(path, 0, ""), kind
                    elif not is_folder:
                        yield _file(path, entry, passing)
                    elif is_link:
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


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        # A link to itself, or to a place without access; looking at it as a file says so.
        return False


def _file(path: str, entry: os.DirEntry[str], passing: frozenset[int]) -> tuple[SourceFile, EntryKind]:
    try:
        facts = entry.stat()
    except OSError as error:
        # A link to nothing or to itself, or a file that just went; reading it fails its shard only.
        if isinstance(error, FileNotFoundError) or error.errno == errno.ELOOP:
            return SourceFile(path, 0, MISSING), EntryKind.FILE
        raise
    kind = EntryKind.FILE if stat.S_ISREG(facts.st_mode) else EntryKind.SPECIAL
    return SourceFile(path, facts.st_size, local_version(facts, passing)), kind
