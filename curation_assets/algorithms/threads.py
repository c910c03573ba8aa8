"""Work on rows, cut into one part for each thread while torch itself has one thread.

torch's own threads busy-wait for milliseconds, on cores that other threads could use. So within a fit torch stays on
one thread, and ranges of rows are shared out here.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import chain, islice
from typing import Any, TypeVar

import numpy as np
import torch

Part = TypeVar("Part")
VALUE_WORK = 16
"""Multiplications of a matrix product in the time that a loop over values takes for one value."""
# Below this many multiplications a pass, threads cost more than they save.
_SINGLE_THREAD_WORK = 5 * 10**7
_SINGLE_THREAD_PART = 10**7
# Handing over smaller pieces costs more than the work on them: their products are shared out instead.
_FEWEST_ITEMS = 1024
_FULL_PIECES = 4
_pools: dict[int, tuple[ThreadPoolExecutor, list[threading.Thread]]] = {}
_n_parts: ContextVar[int | None] = ContextVar("_n_parts", default=None)


@contextmanager
def parts_on_threads(work: int | None = None) -> Iterator[None]:
    """Inside the block torch has one thread, and `in_parts` those that torch had.

    Args:
        work: multiplications of a pass over the rows, if known: with few, parts are not shared out either.
    """
    if _n_parts.get() is not None:
        yield
        return
    before = torch.get_num_threads()
    token = _n_parts.set(1 if work is not None and work < _SINGLE_THREAD_WORK else before)
    if before > 1:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        _n_parts.reset(token)
        if before > 1:
            torch.set_num_threads(before)


def in_parts(
    function: Callable[[int, int], Part], n_items: int, work: int, device: str = "cpu"
) -> list[Part]:
    """Call a function for ranges of items, one for each thread; within it torch has one.

    Args:
        function: of the first item of a range and the one after its last.
        n_items: to be cut into ranges.
        work: multiplications that each of them takes, about.
        device: torch device of the work; only work on the CPU is shared out.
    """
    n_parts = min(_n_threads(), n_items) if device == "cpu" else 1
    if n_parts <= 1 or n_items * work < _SINGLE_THREAD_PART:
        return [function(0, n_items)]
    edges = np.linspace(0, n_items, n_parts + 1).astype(np.int64).tolist()
    return list(_threads(n_parts).map(function, edges[:-1], edges[1:]))


def on_threads(
    function: Callable[..., Part], items: Iterable[tuple[Any, ...]], device: str = "cpu"
) -> list[Part]:
    """Call a function with the arguments of each item, as many at a time as `in_parts` makes ranges.

    An item is taken when there is a thread for it. Within the function torch has one thread, and `in_parts` makes one
    range; a single item is worked on in the thread that asks.

    Args:
        function: may run on several threads at once.
        items: arguments of a call each.
        device: torch device of the work; only work on the CPU is shared out.

    Returns:
        What the calls gave, in the order of the items.
    """
    n_threads = _n_threads() if device == "cpu" else 1
    if n_threads <= 1:
        return [function(*item) for item in items]
    coming = iter(items)
    ahead = list(islice(coming, 2))
    if len(ahead) < 2:
        # What it does with `in_parts` is shared out instead.
        return [function(*item) for item in ahead]
    pool, results = _threads(n_threads), []
    under_way: deque[Future[Part]] = deque()
    try:
        for item in chain(ahead, coming):
            under_way.append(pool.submit(function, *item))
            if len(under_way) == n_threads:
                results.append(under_way.popleft().result())
        while under_way:
            results.append(under_way.popleft().result())
    finally:
        wait(under_way)
    return results


def even_size(n_items: int, most: int, fewest: int = _FEWEST_ITEMS, device: str = "cpu") -> int:
    """Size of pieces that gives each thread of `on_threads` about as many items.

    Args:
        n_items: to be cut.
        most: items of a piece. Many threads get smaller ones, so that all of them hold about what four would.
        fewest: items of a piece, unless there are fewer.
        device: torch device of the work; only work on the CPU is shared out.
    """
    n_threads = _n_threads() if device == "cpu" else 1
    most = min(most, max(fewest, most * _FULL_PIECES // n_threads))
    # The smallest multiple of the threads that keeps pieces at `most`: ceil(n / (most * threads)) * threads.
    n_pieces = max(1, -(-n_items // (most * n_threads)) * n_threads)
    n_pieces = max(1, min(n_pieces, n_items // min(most, fewest)))
    return min(most, max(1, -(-n_items // n_pieces)))


def use_one_torch_thread() -> None:
    """Keep torch to one thread in the thread that calls."""
    # The first question resets a thread to the number of the others: ask before setting it.
    torch.get_num_threads()
    torch.set_num_threads(1)


def _n_threads() -> int:
    return _n_parts.get() or torch.get_num_threads()


def _threads(n_threads: int) -> ThreadPoolExecutor:
    known = _pools.get(n_threads)
    # Threads do not survive a fork.
    if known is not None and all(thread.is_alive() for thread in known[1]):
        return known[0]
    pool, before = ThreadPoolExecutor(n_threads, "rows"), torch.get_num_threads()
    everyone = threading.Barrier(n_threads)

    def begin(_: int) -> threading.Thread:
        everyone.wait()
        use_one_torch_thread()
        return threading.current_thread()

    _pools[n_threads] = pool, list(pool.map(begin, range(n_threads)))
    # A thread's own setting is also the default of later threads: set it back.
    torch.set_num_threads(before)
    return pool
