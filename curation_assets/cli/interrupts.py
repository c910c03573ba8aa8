"""How a command ends when it is told to: the run that it executes is closed, and its slots are given back."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ends_cleanly() -> Iterator[None]:
    """SIGTERM and SIGINT raise KeyboardInterrupt in the block, in the main thread.

    Python ends at once on SIGTERM. And Dagster gives SIGTERM the handler of SIGINT, which a shell tells a process in
    the background to ignore.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
