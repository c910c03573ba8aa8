"""Faults of the machine, each as one line with a remedy: a full or read-only disk, a damaged or locked database."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator

from curation_assets.project import STATE_VARIABLE

_KEPT = "finished work is kept, and the same command goes on"


def fault_line(error: BaseException) -> str | None:
    """What is wrong with the machine, and what to do; None for any other error."""
    for cause in _causes(error):
        if isinstance(cause, OSError) and (line := _of_file(cause)):
            return line
        if isinstance(cause, sqlite3.Error):
            return _of_database(cause)
    return None


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


def _of_file(error: OSError) -> str | None:
    where = error.filename or "a file"
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return f"no space left for {where}: make room; {_KEPT}"
        case errno.EROFS:
            return f"{where} lies on a file system that is read-only: make it writable; {_KEPT}"
        case errno.EACCES | errno.EPERM:
            return f"no permission for {where}: give this user the right to read and write it; {_KEPT}"
    return None


def _of_database(error: sqlite3.Error) -> str:
    state = os.environ.get(STATE_VARIABLE, "data/dagster")
    words = str(error)
    if "locked" in words:
        return f"Dagster's database in {state} is locked by another process: wait for it; {_KEPT}"
    if "full" in words:
        return f"no space left for Dagster's database in {state}: make room; {_KEPT}"
    if "readonly" in words or "unable to open" in words:
        return (
            f"Dagster's database in {state} cannot be written ({words}): give this user the right to; {_KEPT}"
        )
    return (
        f"Dagster's database in {state} is damaged ({words}): move {state} away. The history of runs in the UI is lost "
        f"with it; curated data is not, and the next command makes a new database"
    )
