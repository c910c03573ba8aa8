"""Faults of the machine, each as one line with a remedy: a full disk, a damaged database, a GPU without memory."""

from __future__ import annotations

import errno
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from curation_assets.project import STATE_VARIABLE, STORAGE_VARIABLE, Home, find_home

_KEPT = "finished work is kept, and the same command goes on"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_OF_THE_DISK = (errno.EIO, errno.ESTALE, errno.ENODEV, errno.ENXIO)
_HOPELESS = (*_NO_ROOM, *_OF_THE_DISK, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR)
_CODE = re.compile(r"(?:\(os error |\[errno:? )([0-9]{1,3})[)\]]", re.IGNORECASE)
_LITTLE_BYTES = 1 << 20
_MOST_RUNS_LOOKED_AT = 100


def fault_line(error: BaseException) -> str | None:
    """What is wrong with the machine, and what to do; None for any other error."""
    for cause in _causes(error):
        if (fault := _of_system(cause)) and (line := _of_file(fault)):
            return line
        if isinstance(cause, sqlite3.Error):
            return _of_database(cause)
        if _is_of_card(cause):
            return _of_card(cause)
    return None


def meets_all(error: BaseException) -> bool:
    """Whether whatever is written next would meet the same fault: the disk is full or read-only."""
    faults = (_of_system(cause) for cause in _causes(error))
    return any(fault is not None and fault.errno in (*_NO_ROOM, errno.EROFS) for fault in faults)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and those that it was raised from or for."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        found = waiting.pop(0)
        if not isinstance(found, BaseException) or id(found) in seen:
            continue
        seen.add(id(found))
        yield found
        # SQLAlchemy keeps the error of the driver in `orig`.
        waiting += [getattr(found, "orig", None), found.__cause__, found.__context__]


def _of_system(error: BaseException) -> OSError | None:
    """The error of the system that an error is, or that libraries in Rust or C++ tell in words."""
    if isinstance(error, OSError) and error.errno:
        return error
    if found := _CODE.search(str(error)):
        return OSError(int(found[1]), os.strerror(int(found[1])))
    return None


def _is_of_card(error: BaseException) -> bool:
    """Whether a GPU has no memory left; torch, which says so, may not be loaded."""
    return type(error).__name__ == "OutOfMemoryError" and type(error).__module__.split(".")[0] == "torch"


def _of_card(error: BaseException) -> str:
    said = str(error).split(". ")[0]
    return (
        f"a GPU has no memory left ({said}): end other processes on it, or set a smaller encoder.batch_size for "
        f"embeddings, or a smaller device_memory for fits; {_KEPT}"
    )


def _of_file(error: OSError) -> str | None:
    if error.errno not in _HOPELESS:
        return None
    home = find_home()
    where = str(error.filename or "") or _fullest(home)
    folder = _folder_of(where, home)
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return f"no space left for {where}: make room{f' in {folder}' if folder else ''}; {_KEPT}"
        case errno.EROFS:
            other = f", or name another folder instead of {folder}" if folder else ""
            return f"{where} lies on a file system that is read-only: make it writable{other}; {_KEPT}"
        case errno.ENOTDIR:
            other = f", or name another folder instead of {folder}" if folder else ""
            return f"{where} cannot be made, since a part of its path is a file: move that away{other}"
        case code if code in _OF_THE_DISK:
            disk = f"the disk or mount of {folder}" if folder else "its disk or mount"
            return f"{where} cannot be read or written ({error.strerror}): check {disk}; {_KEPT}"
    other = f", or name another folder instead of {folder}" if folder else ""
    return f"no permission for {where}: give this user the right to read and write it{other}; {_KEPT}"


def _folder_of(where: str, home: Home) -> str:
    """The folder of the project that a path lies in, with the setting that names it; empty for other paths."""
    folders = {STORAGE_VARIABLE: Path(home.storage_root), STATE_VARIABLE: home.dagster_state}
    for variable, folder in folders.items():
        if Path(where) == folder or folder in Path(where).parents or Path(where) in folder.parents:
            return f"{folder} ({variable})"
    return ""


def _fullest(home: Home) -> str:
    """The folder of the project that has no room left; systems do not say for which file they had none."""
    found = [Path(home.storage_root), home.dagster_state]
    full = [str(folder) for folder in found if _room(folder) < _LITTLE_BYTES]
    return full[0] if len(full) == 1 else f"{found[0]} or {found[1]}"


def _room(folder: Path) -> float:
    try:
        stat = os.statvfs(folder)
    except OSError:
        return float("inf")
    return 0 if stat.f_files and not stat.f_favail else stat.f_bavail * stat.f_frsize


def _of_database(error: sqlite3.Error) -> str:
    state = find_home().dagster_state
    setting = f"{state} ({STATE_VARIABLE})"
    words = str(error)
    if "locked" in words:
        which = _failing(state, "locked") or f"in {setting}"
        return (
            f"Dagster's database {which} is locked by another process (a backup, a file system that is slow to give "
            f"locks back): wait for it or stop it; {_KEPT}"
        )
    if "full" in words or ("disk I/O error" in words and _room(state) < _LITTLE_BYTES):
        return f"no space left for Dagster's database in {setting}: make room; {_KEPT}"
    if "readonly" in words or "unable to open" in words:
        return (
            f"Dagster's database in {setting} cannot be written ({words}): give this user the right to, or name "
            f"another folder; {_KEPT}"
        )
    damaged = _failing(state, "")
    which = f"Dagster's database {damaged or f'in {setting}'} is damaged ({words})"
    if damaged and damaged.parent.name == "runs" and damaged.stem != "index":
        return f"{which}: remove it. The events of that one run are lost with it; {_KEPT}"
    return (
        f"{which}: move {state} away. The history of runs in the UI is lost with it; curated data is not, and the next "
        f"command makes a new database"
    )


def _failing(state: Path, word: str) -> Path | None:
    """The first of Dagster's databases that cannot be used now, for a reason with this word."""
    history = state / "history"
    try:
        of_runs = sorted((history / "runs").glob("*.db"), key=lambda path: path.stat().st_mtime, reverse=True)
    except OSError:
        of_runs = []
    for path in (
        history / "runs.db", history / "runs" / "index.db", state / "schedules" / "schedules.db",
        *of_runs[:_MOST_RUNS_LOOKED_AT],
    ):  # fmt: skip
        why = _why_unusable(path) if path.exists() else None
        if why and word in why:
            return path
    return None


def _why_unusable(path: Path) -> str | None:
    """What is wrong with a database, in the words of SQLite; None if it can be read and written."""
    try:
        with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as connection:
            connection.execute("PRAGMA quick_check(1)").fetchall()
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        return str(error)
    return None
