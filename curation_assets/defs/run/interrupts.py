"""Notices that this process is told to end, even where Dagster forgets it.

Dagster holds SIGINT and SIGTERM back outside a step, and of two runs of which one runs inside the other it drops what
it has held back. The run would go on to its end.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import dagster as dg

_ENDING = {int(signal.SIGINT), int(signal.SIGTERM)}
_pipes: list[int] = []
"""Ends to read from, of the blocks that notice signals."""


@contextmanager
def noticing_signals() -> Iterator[None]:
    """Keep every SIGINT and SIGTERM of the block for `stop_if_interrupted`; only in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    os.set_blocking(write_end, False)
    before = signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    _pipes.append(read_end)
    try:
        yield
    finally:
        _pipes.remove(read_end)
        signal.set_wakeup_fd(before)
        os.close(read_end)
        os.close(write_end)


def stop_if_interrupted() -> None:
    """Stop if a signal has come.

    Raises:
        dagster.DagsterExecutionInterruptedError: if it has.
    """
    if not _pipes:
        return
    with suppress(BlockingIOError):
        if _ENDING & set(os.read(_pipes[-1], 4096)):
            raise dg.DagsterExecutionInterruptedError
