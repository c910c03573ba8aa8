"""What a step held is given back before the next one, as the steps of a run share a process."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_STATUS = Path("/proc/self/status")
_ANONYMOUS = "RssAnon:"
_WORTH_BYTES = 16 * 2**20


@contextmanager
def memory_given_back() -> Iterator[None]:
    """Give memory back to the system at the end of the block, if the process has grown by more than 16 MiB.

    The C library keeps what threads have freed, such as the chunks that a fit reads. Where the size of the process is
    not known, nothing is done.
    """
    before = anonymous_bytes()
    try:
        yield
    finally:
        now = anonymous_bytes()
        if before is not None and now is not None and now - before > _WORTH_BYTES:
            _give_back()


def anonymous_bytes() -> int | None:
    """Memory of this process that no file backs; None if the system does not say."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(_ANONYMOUS)), None)


def _give_back() -> None:
    if arrow := sys.modules.get("pyarrow"):
        arrow.default_memory_pool().release_unused()
    # Only glibc has it.
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)
