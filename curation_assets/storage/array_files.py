"""Stored arrays read in pieces; nothing is memory-mapped, as mapped pages count as memory of the process."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import IO

import numpy as np
from upath import UPath

from curation_assets.formats.npy import parse_npy_header
from curation_assets.locations import is_local

# Pieces of a local file stay in the CPU's cache until they are converted; remote requests should be larger.
_LOCAL_PIECE, _REMOTE_PIECE = 2**20, 16 * 2**20
# Rows with smaller gaps are read in one request, together with the rows between them.
_LOCAL_GAP, _REMOTE_GAP = 12 * 2**10, 2**20
_HEADER_BYTES = 4096

ReadInto = Callable[[int, np.ndarray], None]


def write_header(file: IO[bytes], descr: str, shape: tuple[int, ...]) -> None:
    """Write the header of a .npy in C order, with a dtype such as '<f2'; the caller writes the values after it.

    Headers of one dimension have the same length, as numpy leaves room for a larger number of rows.
    """
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})


class ArrayFile:
    """Rows of a 2-D .npy in C order, as float32, or as float16 if they are stored so.

    Thread-safe. Memory: a piece of 1 MiB (16 MiB from an object store) while it reads.

    Raises:
        ValueError: if the array is not a 2-D array of floats in C order.
    """

    def __init__(self, path: UPath) -> None:
        self._path = path
        self._local = str(path) if is_local(path) else None
        self.n_rows, self.dimension, self._dtype, self._offset = self._read_header()
        row_bytes = max(1, self.dimension * self._dtype.itemsize)
        self._piece_rows = max(1, (_LOCAL_PIECE if self._local else _REMOTE_PIECE) // row_bytes)
        self._gap_rows = max(1, (_LOCAL_GAP if self._local else _REMOTE_GAP) // row_bytes)

    @property
    def is_half(self) -> bool:
        """Whether the rows are stored as float16."""
        return self._dtype == np.float16

    def read(self, start: int, out: np.ndarray) -> None:
        """Read the rows from `start` into `out` (m, d), float32 or of the type that is stored."""
        from curation_assets.algorithms.rows import as_float32

        self._require(out.dtype)
        with self._opened() as read_into:
            if self._dtype == out.dtype:
                step = max(1, len(out)) if self._local else self._piece_rows
                for first in range(0, len(out), step):
                    read_into(start + first, out[first : first + step])
                return
            scratch = self._scratch(len(out))
            for first in range(0, len(out), self._piece_rows):
                piece = scratch[: len(out) - first]
                read_into(start + first, piece)
                as_float32(piece, out[first : first + len(piece)])

    def gather(self, rows: np.ndarray, *, half: bool = False) -> Iterator[tuple[slice, np.ndarray]]:
        """Rows at int64 (m,) positions, ascending, repeats allowed; neighbouring rows are read together.

        Args:
            rows: the positions.
            half: give float16 rows, which must be stored as such, instead of float32 ones.

        Returns:
            Pieces: a slice of `rows` and their rows, valid until the next piece.
        """
        from curation_assets.algorithms.rows import as_float32

        self._require(np.dtype(np.float16 if half else np.float32))
        if not len(rows):
            return
        breaks = (np.diff(rows) > self._gap_rows) | (np.diff(rows // self._piece_rows) > 0)
        breaks[self._piece_rows - 1 :: self._piece_rows] = True
        bounds = [0, *(np.flatnonzero(breaks) + 1).tolist(), len(rows)]
        firsts = rows[bounds[:-1]].tolist()
        with self._opened() as read_into:
            # Rows of many short reads are converted together; one by one, conversion takes longer than reading.
            scratch, found = self._scratch(self._piece_rows), self._scratch(len(rows))
            start = 0
            for first, (begin, end) in zip(firsts, pairwise(bounds), strict=True):
                if end == begin + 1:
                    read_into(first, found[begin - start : end - start])
                else:
                    piece = scratch[: int(rows[end - 1]) + 1 - first]
                    read_into(first, piece)
                    np.take(piece, rows[begin:end] - first, axis=0, out=found[begin - start : end - start])
                if end - start == len(found) or end == len(rows):
                    yield (
                        slice(start, end),
                        found[: end - start] if half else as_float32(found[: end - start]),
                    )
                    start = end

    def _require(self, wanted: np.dtype) -> None:
        if wanted not in (np.float32, self._dtype):
            raise ValueError(
                f"{self._path}: is {self._dtype}, expected {wanted}: run the step that wrote it again"
            )

    def _scratch(self, n_rows: int) -> np.ndarray:
        return np.empty((min(n_rows, self._piece_rows), self.dimension), dtype=self._dtype)

    @contextmanager
    def _opened(self) -> Iterator[ReadInto]:
        """A function that fills an array with rows, from a given row on."""
        row_bytes = self.dimension * self._dtype.itemsize
        if self._local is None:

            def fetch(start: int, out: np.ndarray) -> None:
                begin = self._offset + start * row_bytes
                content = self._path.fs.cat_file(self._path.path, start=begin, end=begin + out.nbytes)
                out[...] = np.frombuffer(content, dtype=self._dtype).reshape(out.shape)

            yield fetch
            return
        with open(self._local, "rb", buffering=0) as file:  # noqa: PTH123 - unbuffered, path at hand as text
            handle, offset = file.fileno(), self._offset

            def read_into(start: int, out: np.ndarray) -> None:
                n_read = os.preadv(handle, [out.data], offset + start * row_bytes)
                while n_read < out.nbytes:
                    more = os.preadv(
                        handle, [out.data.cast("B")[n_read:]], offset + start * row_bytes + n_read
                    )
                    if not more:
                        raise ValueError(
                            f"{self._path}: is shorter than its header says: run the step that wrote it again"
                        )
                    n_read += more

            yield read_into

    def _read_header(self) -> tuple[int, int, np.dtype, int]:
        if self._local is not None:
            with open(self._local, "rb") as file:  # noqa: PTH123
                head = file.read(_HEADER_BYTES)
        else:
            head = self._path.fs.cat_file(self._path.path, start=0, end=_HEADER_BYTES)
        stream = io.BytesIO(head)
        shape, fortran_order, dtype = parse_npy_header(stream)
        if len(shape) != 2 or fortran_order or dtype.kind != "f":
            raise ValueError(
                f"{self._path}: is {dtype} of shape {shape}, expected floats of (rows, dimension): run the step that "
                f"wrote it again"
            )
        return shape[0], shape[1], dtype, stream.tell()


class StoredRows:
    """One stored array as rows of a fit (see algorithms.rows.Rows)."""

    def __init__(self, path: UPath) -> None:
        self._file = ArrayFile(path)

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self._file.n_rows

    @property
    def dimension(self) -> int:
        """Length of a row."""
        return self._file.dimension

    def read(self, start: int, stop: int) -> np.ndarray:
        """See `Rows.read`."""
        block = np.empty((stop - start, self.dimension), dtype=np.float32)
        self._file.read(start, block)
        return block

    @property
    def is_half(self) -> bool:
        """See `algorithms.rows.StoredHalves`."""
        return self._file.is_half

    def read_half(self, start: int, stop: int) -> np.ndarray:
        """See `algorithms.rows.StoredHalves`."""
        block = np.empty((stop - start, self.dimension), dtype=np.float16)
        self._file.read(start, block)
        return block

    def take(self, indices: np.ndarray) -> np.ndarray:
        """See `Rows.take`; read in the order of the file."""
        block = np.empty((len(indices), self.dimension), dtype=np.float32)
        order = np.argsort(indices, kind="stable")
        for part, rows in self._file.gather(indices[order].astype(np.int64)):
            block[order[part]] = rows
        return block
