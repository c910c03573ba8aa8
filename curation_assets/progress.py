"""Progress of long work: a log line every ten seconds, and bars in a terminal."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

LOG_INTERVAL_SECONDS = 10.0
_SHORTEST_LOOK_BACK_SECONDS = 60.0


class ProgressSink(Protocol):
    """Where progress is shown."""

    def begin(self, task: str, total: int) -> None:
        """A task starts, with `total` units of work."""

    def update(self, task: str, done: float, detail: str) -> None:
        """`done` units are finished."""

    def line(self, text: str) -> None:
        """How far a task is, in words: every ten seconds."""

    def end(self, task: str) -> None:
        """The task is over."""


@dataclass
class Pace:
    """How far a task is, and when it may be done.

    Args:
        total: units of work.
        began: monotonic time in seconds.
    """

    total: int
    began: float
    detail: str = ""
    _seen: list[tuple[float, float]] = field(default_factory=list)
    """Monotonic time and units done, of the updates."""

    @property
    def done(self) -> float:
        """Units done."""
        return self._seen[-1][1] if self._seen else 0.0

    @property
    def share(self) -> float:
        """Done, from 0 to 1."""
        return min(1.0, self.done / max(1, self.total))

    def update(self, done: float, detail: str, now: float) -> None:
        """`done` units are finished at this monotonic time."""
        self.detail = detail
        self._seen.append((now, done))
        if len(self._seen) > 1000:
            del self._seen[1:-1:2]

    def seconds_left(self, now: float) -> float | None:
        """Time that the rest takes at the pace of the later half of the time so far.

        None if that is not known, also because the rest takes longer than expected. What was done at the first update
        is not counted: it may have been done before the task began.
        """
        if len(self._seen) < 2:
            return None
        since = min(now - _SHORTEST_LOOK_BACK_SECONDS, (self.began + now) / 2)
        first = next((seen for seen in reversed(self._seen) if seen[0] <= since), self._seen[0])
        last, done = self._seen[-1]
        if done <= first[1]:
            return None
        # What has been done since the last update is not known: the pace stays, and the time counts.
        pace = (done - first[1]) / max(last - first[0], 1e-9)
        expected = (self.total - done) / pace - (now - last)
        return expected if expected > 0 or done >= self.total else None

    def line(self, task: str, now: float) -> str:
        """One line for people: share, units if they are counted, detail, time so far and time left."""
        units = f" ({int(self.done):,} of {self.total:,})" if self.total > 1 else ""
        left = self.seconds_left(now)
        rest = "time left not known yet" if left is None else f"about {in_words(left)} left"
        detail = f", {self.detail}" if self.detail else ""
        return f"{task}: {self.share:.0%}{units}{detail}; {in_words(now - self.began)} so far, {rest}"


def in_words(seconds: float) -> str:
    """A duration, to two units at most."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


_terminal: ProgressSink | None = None


@contextmanager
def shown_in(sink: ProgressSink) -> Iterator[None]:
    """Show progress of every step of this process in `sink` too, besides the steps' logs."""
    global _terminal
    _terminal = sink
    try:
        yield
    finally:
        _terminal = None


@contextmanager
def task(
    name: str, total: int, log: Callable[[str], None], *, every: float = LOG_INTERVAL_SECONDS
) -> Iterator[Callable[[float, str], None]]:
    """Report one task; the block gets a function that takes the units done and a short detail.

    A line goes to `log` every ten seconds, from a thread, even while one unit takes longer.
    """
    sink, pace, ended = _terminal, Pace(total, time.monotonic()), threading.Event()

    def report(done: float, detail: str) -> None:
        pace.update(done, detail, time.monotonic())
        if sink:
            sink.update(name, done, detail)

    def keep_logging() -> None:
        while not ended.wait(every):
            line = pace.line(name, time.monotonic())
            log(line)
            if sink:
                sink.line(line)

    if sink:
        sink.begin(name, total)
    thread = threading.Thread(target=keep_logging, name=f"progress of {name}", daemon=True)
    thread.start()
    try:
        yield report
    finally:
        ended.set()
        thread.join()
        if sink:
            sink.end(name)
