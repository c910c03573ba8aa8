"""Whether the files that a step is about to read are what was written; each file is read once in a process."""

from __future__ import annotations

import os
from pathlib import Path

from curation_assets.locations import is_local
from curation_assets.storage.fingerprint import file_digest
from curation_assets.storage.outputs import Facts, Output

_seen: set[tuple[str, str, int, int, int]] = set()
"""Path, digest, inode, time and size of files that were as recorded."""


def damaged_file(output: Output, facts: Facts) -> str | None:
    """The first file of an output that differs from what its facts say, in words; None if all are as written.

    Files in object stores are not read: their stores keep checksums, and a download is not cheap.
    """
    if not is_local(output.folder):
        return None
    for name, digest in facts.files.items():
        path = str(output.path(name))
        try:
            if _is_as_written(path, digest) or output.facts() != facts:
                continue
        except FileNotFoundError:
            # A lost file makes the output out of date, which is reported as that.
            continue
        return f"{output.folder.name}/{os.path.relpath(path, str(output.folder))} has other bytes than were written"
    return None


def _is_as_written(path: str, digest: str) -> bool:
    state = os.stat(path)  # noqa: PTH116 - plain paths: there may be tens of thousands
    entry = (path, digest, state.st_ino, state.st_mtime_ns, state.st_size)
    if entry in _seen:
        return True
    is_same = file_digest(Path(path)) == digest
    if is_same:
        _seen.add(entry)
    return is_same
