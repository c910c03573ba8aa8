"""How a command ends when it is told to: the run that it executes is closed, and its slots are given back."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import click

from curation_assets.defs.run.interrupts import noticing_signals, was_terminated

_INTERRUPTED, _TERMINATED = 130, 143
"""What shells report of a command that Ctrl-C or SIGTERM ended."""


@contextmanager
def ends_cleanly() -> Iterator[None]:
    """SIGTERM and SIGINT end the block with KeyboardInterrupt, and then the command with code 143 or 130.

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
        with noticing_signals():
            yield
    except KeyboardInterrupt:
        click.secho("interrupted. Finished work is kept: give the same command again to go on", err=True)
        raise SystemExit(_TERMINATED if was_terminated() else _INTERRUPTED) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
