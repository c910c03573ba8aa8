"""Prepares work in other threads while earlier work is done, and keeps its order."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


@dataclass(slots=True)
class ReadTimes:
    """Where the time of a `ReadAhead` went, in seconds of wall time."""

    making: float = 0.0
    """In which items were made, by any number of threads."""
    first_wait: float = 0.0
    """For the first item, while there is nothing else to do."""
    later_wait: float = 0.0
    """For the others, and for the end."""
    lay_ready: float = 0.0
    """In which an item waited to be taken, and nothing was made."""
    n_items: int = 0


@dataclass(frozen=True, slots=True)
class _Made:
    item: Any
    ready_at: float
    is_last: bool = False
    error: BaseException | None = None


class ReadAhead(Generic[T]):
    """Iterates in a background thread, one item ahead of the one in use.

    At most two items exist at a time: the last one given out, and the next. Errors of the iterator are raised at their
    place in the iteration, with their traceback. When the `with` block ends, normally or by an error, the iterator
    is closed in its thread and the thread ends.

    Args:
        items: a generator. It starts when the block begins and is closed with the block.
        in_background: False makes each item when it is asked for.
    """

    def __init__(self, items: Generator[T, None, None], *, in_background: bool = True) -> None:
        self.times = ReadTimes()
        self.in_background = in_background
        self._items = items
        self._slots = threading.Semaphore(2)
        self._made: SimpleQueue[_Made] = SimpleQueue()
        self._stopped = False
        # A daemon, so that an interrupted process ends even if storage hangs.
        self._thread = threading.Thread(target=self._make_all, name="read-ahead", daemon=True)

    def __enter__(self) -> ReadAhead[T]:
        if self.in_background:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.in_background:
            self._items.close()
            return
        self._stopped = True
        self._slots.release()
        self._thread.join()

    def __iter__(self) -> Iterator[T]:
        take = self._made.get if self.in_background else self._make
        while True:
            asked_at = time.perf_counter()
            made = take()
            self._count_waiting(asked_at, made)
            if made.error is not None:
                raise made.error
            if made.is_last:
                return
            self.times.n_items += 1
            yield made.item
            self._slots.release()

    def _count_waiting(self, asked_at: float, made: _Made) -> None:
        waited = max(0.0, made.ready_at - asked_at)
        if self.times.n_items:
            self.times.later_wait += waited
        else:
            self.times.first_wait += waited
        if not made.is_last:
            self.times.lay_ready += max(0.0, asked_at - made.ready_at)

    def _make_all(self) -> None:
        """In the background: make items while there is room for them."""
        try:
            while True:
                self._slots.acquire()
                if self._stopped:
                    return
                made = self._make()
                self._made.put(made)
                if made.is_last:
                    return
        finally:
            self._items.close()

    def _make(self) -> _Made:
        began = time.perf_counter()
        item: T | None = None
        error: BaseException | None = None
        is_last = False
        try:
            item = next(self._items)
        except StopIteration:
            is_last = True
        except BaseException as raised:
            # Any error is for the thread that waits for the item.
            is_last, error = True, raised
        ready_at = time.perf_counter()
        self.times.making += ready_at - began
        return _Made(item, ready_at, is_last, error)


def map_in_order(function: Callable[[T], R], items: Iterable[T], n_threads: int) -> Generator[R, None, None]:
    """Results of a function in the order of its arguments, computed by several threads.

    The calling thread draws the arguments, ahead of the next result by at most twice the number of threads. An
    error of the function is raised in place of its result, an error of the iteration at once. Closing the generator
    lets running calls finish and drops the others.

    Args:
        function: may be called by several threads at a time.
        items: its arguments.
        n_threads: below 2 the caller's own thread does it.
    """
    if n_threads < 2:
        for item in items:
            yield function(item)
        return
    running: deque[Future[R]] = deque()
    with ThreadPoolExecutor(n_threads, thread_name_prefix="decode") as threads:
        try:
            for item in items:
                running.append(threads.submit(function, item))
                if len(running) > 2 * n_threads:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            for future in running:
                future.cancel()
