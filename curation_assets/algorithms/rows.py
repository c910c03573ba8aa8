"""Rows: what the fits read. A pool larger than memory implements the same two methods over its shards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, Protocol

import numpy as np

Metric = Literal["cosine", "l2"]

CHUNK_BYTES = 64 * 2**20


class Rows(Protocol):
    """A matrix of n_rows x dimension that is read in pieces."""

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        ...

    @property
    def dimension(self) -> int:
        """Length of a row."""
        ...

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows start to stop (exclusive) as a float32 array."""
        ...

    def take(self, indices: np.ndarray) -> np.ndarray:
        """The named rows, in the order given, as a float32 array."""
        ...


class ArrayRows:
    """Rows held in memory (or memory-mapped) as one array of shape (n, d)."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return int(self._array.shape[0])

    @property
    def dimension(self) -> int:
        """Length of a row."""
        return int(self._array.shape[1])

    def read(self, start: int, stop: int) -> np.ndarray:
        """See `Rows.read`; no copy if the array is float32 already."""
        return np.asarray(self._array[start:stop], dtype=np.float32)

    def take(self, indices: np.ndarray) -> np.ndarray:
        """See `Rows.take`."""
        return np.asarray(self._array[indices], dtype=np.float32)


def chunk_bounds(rows: Rows, chunk_bytes: int = CHUNK_BYTES) -> Iterator[tuple[int, int]]:
    """Consecutive (start, stop) of chunks of at most `chunk_bytes` as float32, at least one row each."""
    step = max(1, chunk_bytes // (4 * max(1, rows.dimension)))
    for start in range(0, rows.n_rows, step):
        yield start, min(start + step, rows.n_rows)
