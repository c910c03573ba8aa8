"""Progress of long work: log lines by default, bars in a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

LOG_INTERVAL_SECONDS = 10.0


class ProgressSink(Protocol):
    """Where progress is shown."""

    def begin(self, task: str, total: int) -> None:
        """A task starts, with `total` units of work."""

    def update(self, task: str, done: float, detail: str) -> None:
        """`done` units are finished."""

    def end(self, task: str) -> None:
        """The task is over."""


class LogSink:
    """Logs at most one line every ten seconds."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._totals: dict[str, int] = {}
        self._last = time.monotonic()

    def begin(self, task: str, total: int) -> None:
        """See `ProgressSink`."""
        self._totals[task] = total

    def update(self, task: str, done: float, detail: str) -> None:
        """See `ProgressSink`."""
        if time.monotonic() - self._last >= LOG_INTERVAL_SECONDS:
            self._last = time.monotonic()
            self._log(f"{task}: {done:.4g} of {self._totals.get(task, 0)}, {detail}")

    def end(self, task: str) -> None:
        """See `ProgressSink`."""
        self._totals.pop(task, None)


_terminal: ProgressSink | None = None


@contextmanager
def shown_in(sink: ProgressSink) -> Iterator[None]:
    """Show progress of every step of this process in `sink` instead of the steps' logs."""
    global _terminal
    _terminal = sink
    try:
        yield
    finally:
        _terminal = None


@contextmanager
def task(name: str, total: int, log: Callable[[str], None]) -> Iterator[Callable[[float, str], None]]:
    """Report one task; the block gets a function that takes the units done and a short detail."""
    sink = _terminal or LogSink(log)
    sink.begin(name, total)
    try:
        yield lambda done, detail: sink.update(name, done, detail)
    finally:
        sink.end(name)
