"""Rows: what fits read. A pool larger than memory implements the same two methods over its shards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
import torch

# Larger chunks are no faster to read and to prepare, and three of them are in memory at once (measured).
CHUNK_BYTES = 16 * 2**20
# torch splits an operation on more elements among threads. A thread that reads ahead would get a second set of them,
# which competes with those that compute.
_SERIAL_ELEMENTS = 32_000

Item = TypeVar("Item")
Loaded = TypeVar("Loaded")


class Rows(Protocol):
    """A matrix of n_rows x dimension that is read in pieces."""

    @property
    def n_rows(self) -> int:
        """Number of rows."""

    @property
    def dimension(self) -> int:
        """Length of a row."""

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows start to stop (exclusive) as a float32 array; called from a thread that reads ahead, too."""

    def take(self, indices: np.ndarray) -> np.ndarray:
        """The named rows, in the order given, as a float32 array of the caller's own."""


@runtime_checkable
class StoredHalves(Rows, Protocol):
    """Rows that can be read without conversion if they are stored as float16."""

    @property
    def is_half(self) -> bool:
        """Whether they are stored as float16."""

    def read_half(self, start: int, stop: int) -> np.ndarray:
        """Rows start to stop (exclusive) as a float16 array; see `Rows.read`."""


@dataclass(frozen=True, slots=True)
class Stored:
    """Prepared rows as they are stored, and what prepares them (see `preprocessing.Preprocessing`)."""

    rows: StoredHalves
    """Stored as float16."""
    mean: np.ndarray | None
    """float32 (d,): is taken away first; None takes nothing away."""
    lengths: Callable[[np.ndarray], np.ndarray] | None
    """Of a float16 block (b, d): what rows are then divided by, float64 (b,); None divides by nothing."""
    grid_step: float
    """Values are rounded to multiples of this power of two."""


@runtime_checkable
class HasStored(Rows, Protocol):
    """Prepared rows that may be held as they are stored."""

    def stored(self) -> Stored | None:
        """What they are made from; None if that is not stored as float16."""


class ArrayRows:
    """Rows held in memory (or memory-mapped) as one array of shape (n, d)."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array
        self.n_rows, self.dimension = array.shape

    def read(self, start: int, stop: int) -> np.ndarray:
        """See `Rows.read`; no copy if the array is float32 already."""
        return as_float32(self._array[start:stop])

    def take(self, indices: np.ndarray) -> np.ndarray:
        """See `Rows.take`."""
        return as_float32(self._array[indices])

    @property
    def is_half(self) -> bool:
        """See `StoredHalves`."""
        return self._array.dtype == np.float16

    def read_half(self, start: int, stop: int) -> np.ndarray:
        """See `StoredHalves`."""
        return np.asarray(self._array[start:stop])


class SomeRows:
    """Rows of some numbers of a matrix that is stored as float16, as a matrix of their own, see `StoredHalves`.

    Args:
        rows: stored as float16.
        numbers: int64 (m,).
    """

    is_half = True

    def __init__(self, rows: StoredHalves, numbers: np.ndarray) -> None:
        self._rows, self._numbers = rows, numbers
        self.n_rows, self.dimension = len(numbers), rows.dimension

    def read(self, start: int, stop: int) -> np.ndarray:
        """See `Rows.read`."""
        return self._rows.take(self._numbers[start:stop])

    def take(self, indices: np.ndarray) -> np.ndarray:
        """See `Rows.take`."""
        return self._rows.take(self._numbers[indices])

    def read_half(self, start: int, stop: int) -> np.ndarray:
        """See `StoredHalves`; exact, as the values were float16."""
        return torch.from_numpy(self.read(start, stop)).half().numpy()


def chunk_rows(rows: Rows, chunk_bytes: int | None = None) -> int:
    """Rows of a chunk of at most `chunk_bytes` as float32, at least 1."""
    return max(1, (chunk_bytes or CHUNK_BYTES) // (4 * max(1, rows.dimension)))


def chunk_bounds(
    rows: Rows, chunk_bytes: int | None = None, *, multiple_of: int = 1
) -> Iterator[tuple[int, int]]:
    """Consecutive (start, stop) of chunks of at most `chunk_bytes` as float32, at least `multiple_of` rows each.

    Every chunk but the last has a multiple of `multiple_of` rows.
    """
    step = max(1, chunk_rows(rows, chunk_bytes) // multiple_of) * multiple_of
    for start in range(0, rows.n_rows, step):
        yield start, min(start + step, rows.n_rows)


def read_chunks(
    rows: Rows, chunk_bytes: int | None = None, *, multiple_of: int = 1
) -> Iterator[tuple[int, np.ndarray]]:
    """Every row once, in the chunks of `chunk_bounds` (first row, float32 array), which a thread reads one ahead.

    Up to three chunks are in memory at once.
    """
    bounds = chunk_bounds(rows, chunk_bytes, multiple_of=multiple_of)
    return read_ahead(bounds, lambda piece: (piece[0], rows.read(*piece)))


def read_ahead(items: Iterable[Item], produce: Callable[[Item], Loaded]) -> Iterator[Loaded]:
    """`produce` of each item in order, the next one under way in a thread while the caller works on the last.

    Errors of `produce` are raised where their result would have come.
    """
    waiting = iter(items)
    try:
        first, second = next(waiting), next(waiting, None)
    except StopIteration:
        return
    if second is None:
        yield produce(first)
        return
    with ThreadPoolExecutor(1, thread_name_prefix="read_ahead") as pool:
        coming = pool.submit(produce, first)
        for item in chain((second,), waiting):
            loaded = coming.result()
            coming = pool.submit(produce, item)
            yield loaded
            # Not kept while the next one is awaited.
            del loaded
        yield coming.result()


def as_float32(array: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """An array as float32, without a copy if it is already and no `out` is given.

    Args:
        array: floats of any shape.
        out: float32 array of the same shape, in C order, to write to.
    """
    if out is None:
        if array.dtype == np.float32:
            return np.asarray(array)
        out = np.empty(array.shape, dtype=np.float32)
    if array.dtype != np.float16 or not array.flags.c_contiguous:
        np.copyto(out, array, casting="same_kind")
        return out
    # numpy converts float16 bit by bit (1.2 GB/s), torch by an instruction (22 GB/s, measured).
    source, target = array.reshape(-1), torch.from_numpy(out.reshape(-1))
    for start in range(0, len(source), _SERIAL_ELEMENTS):
        piece = source[start : start + _SERIAL_ELEMENTS]
        # A memory map is read-only, which torch tensors cannot be.
        piece = piece if piece.flags.writeable else piece.copy()
        target[start : start + len(piece)].copy_(torch.from_numpy(piece))
    return out


def as_tensor(array: np.ndarray, device: str = "cpu") -> torch.Tensor:
    """An array as a float32 tensor on a device, without a copy where none is needed.

    Args:
        array: floats of any shape; a memory map is copied, since it is read-only, which torch tensors cannot be.
        device: torch device.
    """
    return torch.from_numpy(np.require(array, dtype=np.float32, requirements=["C", "W"])).to(device)
