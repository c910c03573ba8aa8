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
_noticed: set[int] = set()
"""Signals of the outermost block that is under way, or was the last."""


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
    if not _pipes:
        _noticed.clear()
    _pipes.append(read_end)
    try:
        yield
    finally:
        _take_note()
        _pipes.remove(read_end)
        signal.set_wakeup_fd(before)
        os.close(read_end)
        os.close(write_end)


def stop_if_interrupted() -> None:
    """Stop if a signal has come.

    Raises:
        dagster.DagsterExecutionInterruptedError: if it has.
    """
    # Once is not enough: Dagster may take the first for a failure that is worth another try.
    if _pipes and (_take_note() or _noticed):
        raise dg.DagsterExecutionInterruptedError


def was_terminated() -> bool:
    """Whether SIGTERM, and no Ctrl-C, came in the outermost block of `noticing_signals`."""
    return _noticed == {signal.SIGTERM}


def _take_note() -> bool:
    """Keep in mind what has come since the last look; True if it is to end this process."""
    with suppress(BlockingIOError):
        came = _ENDING & set(os.read(_pipes[-1], 4096))
        _noticed.update(came)
        return bool(came)
    return False
