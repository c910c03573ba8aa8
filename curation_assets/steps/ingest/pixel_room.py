"""Memory that decoded images may take together."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import cast

BYTES_PER_PIXEL = 8
"""Of an image while it is decoded and prepared: as it is stored, and as RGB."""

_LARGE_PIXELS = 4 * 10**6


class PixelRoom:
    """Lets threads decode as many images at a time as there is memory for, and a larger image alone.

    Args:
        n_bytes: for all decoded images together; one image is always let in.
    """

    def __init__(self, n_bytes: int) -> None:
        self._most_pixels = n_bytes // BYTES_PER_PIXEL
        self._n_pixels = 0
        self._changed = threading.Condition()

    @contextmanager
    def place(self) -> Iterator[Callable[[int], None]]:
        """A function that waits until there is room for an image of so many pixels; the block keeps the room."""
        taken = 0

        def take(n_pixels: int) -> None:
            nonlocal taken
            with self._changed:
                self._changed.wait_for(
                    lambda: not self._n_pixels or self._n_pixels + n_pixels <= self._most_pixels
                )
                self._n_pixels += n_pixels
                taken += n_pixels

        try:
            yield take
        finally:
            if taken >= _LARGE_PIXELS:
                _return_freed_memory()
            with self._changed:
                self._n_pixels -= taken
                self._changed.notify_all()


@cache
def _trim() -> Callable[[int], int]:
    """The C library's function for it, where there is one."""
    try:
        return cast("Callable[[int], int]", ctypes.CDLL(None).malloc_trim)
    except (AttributeError, OSError, TypeError):
        return lambda _: 0


def _return_freed_memory() -> None:
    """Give freed memory back to the system: each thread's heap would keep that of its largest image."""
    _trim()(0)
