"""Work on rows cut into parts, one for each thread, while torch itself has one.

Torch's own threads wait for more work by turning round and round for milliseconds, on the cores that other threads
could use by then. So within a fit torch stays on one thread, and ranges of rows are shared out here.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

import numpy as np
import torch

Part = TypeVar("Part")
# Below this many multiplications a pass, threads cost more than they save.
_SINGLE_THREAD_WORK = 5 * 10**8
_SINGLE_THREAD_PART = 10**6
_n_parts: ContextVar[int | None] = ContextVar("_n_parts", default=None)


@contextmanager
def parts_on_threads(work: int | None = None) -> Iterator[None]:
    """Inside the block torch has one thread, and `in_parts` those that torch had.

    Args:
        work: multiplications of a pass over the rows, if known: of few, parts are not shared out either.
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


def in_parts(function: Callable[[int, int], Part], n_items: int, work: int) -> list[Part]:
    """Call a function for ranges of items, one for each thread; within it torch has one.

    Args:
        function: of the first item of a range and the one after its last.
        n_items: to be cut into ranges.
        work: multiplications that each of them takes, about.
    """
    n_parts = min(_n_parts.get() or torch.get_num_threads(), n_items)
    if n_parts <= 1 or n_items * work < _SINGLE_THREAD_PART:
        return [function(0, n_items)]
    edges = np.linspace(0, n_items, n_parts + 1).astype(np.int64).tolist()
    return list(_threads(os.getpid(), n_parts).map(function, edges[:-1], edges[1:]))


def use_one_torch_thread() -> None:
    """Keep torch to one thread in the thread that calls."""
    # A thread takes over the number of the others when it is first asked, whatever it has been told before.
    torch.get_num_threads()
    torch.set_num_threads(1)


@functools.cache
def _threads(process: int, n_threads: int) -> ThreadPoolExecutor:
    # Of this process: threads do not survive a fork.
    pool, before = ThreadPoolExecutor(n_threads, "rows"), torch.get_num_threads()
    everyone = threading.Barrier(n_threads)

    def begin(_: int) -> None:
        everyone.wait()
        use_one_torch_thread()

    list(pool.map(begin, range(n_threads)))
    # What a thread says of itself also becomes the number that later ones begin with.
    torch.set_num_threads(before)
    return pool
