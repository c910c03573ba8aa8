"""Headers of .npy files, and the rows of untrusted ones in chunks; nothing is unpickled."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from upath import UPath

from curation_assets.errors import ShardError
from curation_assets.formats.base import repeatable
from curation_assets.locations import is_local

NPY_MAGIC = b"\x93NUMPY"
CHUNK_BYTES = 16 * 2**20
_REMEDY = "save it again as float16 of shape (samples, dimension) with numpy.save(..., allow_pickle=False)"


@dataclass(frozen=True, slots=True)
class NpyHeader:
    """The header of a .npy file of embeddings."""

    n_rows: int
    dimension: int
    dtype: np.dtype
    fortran_order: bool
    data_offset: int
    """Bytes before the first value."""

    @property
    def row_bytes(self) -> int:
        """Bytes of one embedding."""
        return self.dimension * self.dtype.itemsize

    @property
    def file_bytes(self) -> int:
        """Bytes of the complete file."""
        return self.data_offset + self.n_rows * self.row_bytes


def load_array(path: UPath) -> np.ndarray:
    """An array, memory-mapped if it is on this machine, else read whole."""
    if is_local(path):
        return np.load(str(path), mmap_mode="r", allow_pickle=False)
    return np.load(io.BytesIO(path.fs.cat_file(path.path)), allow_pickle=False)


def parse_npy_header(file: BinaryIO | io.RawIOBase) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether in Fortran order, and dtype of a .npy of version 1 or 2; whatever numpy raises otherwise."""
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    return readers[np.lib.format.read_magic(file)](file)


def read_npy_header(file: BinaryIO | io.RawIOBase, path: str) -> NpyHeader:
    """Read and check a header.

    Args:
        file: opened for reading in binary, at its start.
        path: name of the file in messages.

    Raises:
        ShardError: if it is not .npy of version 1 or 2, or not a 2-D array of floats.
    """
    try:
        shape, fortran_order, dtype = parse_npy_header(file)
    except (OSError, ShardError):
        raise
    # A header is an untrusted Python literal; what its parser raises on hostile bytes has no common class.
    except Exception as error:
        why = repeatable(f"{type(error).__name__}: {error}")
        raise ShardError(f"{path}: no readable .npy header ({why}): {_REMEDY}") from error
    if dtype.hasobject:
        raise ShardError(f"{path}: holds pickled Python objects, which are never loaded: {_REMEDY}")
    if dtype.kind != "f":
        raise ShardError(f"{path}: holds {dtype}, but embeddings are float16, float32 or float64: {_REMEDY}")
    if len(shape) != 2 or shape[1] < 1:
        raise ShardError(f"{path}: has the shape {shape}, which is not (samples, dimension): {_REMEDY}")
    return NpyHeader(shape[0], shape[1], dtype, fortran_order, file.tell())


def read_npy_rows(path: UPath, header: NpyHeader, chunk_bytes: int = CHUNK_BYTES) -> Iterator[np.ndarray]:
    """All rows in chunks (m, d) of the file's own type: memory-mapped on this machine, else streamed.

    An array in Fortran order on other storage is read whole, as its rows are scattered.
    """
    chunk_rows = max(1, chunk_bytes // header.row_bytes)
    starts = range(0, header.n_rows, chunk_rows)
    if is_local(path) or header.fortran_order:
        array = load_array(path)
        yield from (array[start : start + chunk_rows] for start in starts)
    else:
        with path.fs.open(path.path, "rb") as file:
            file.seek(header.data_offset)
            for start in starts:
                n_rows = min(chunk_rows, header.n_rows - start)
                content = file.read(n_rows * header.row_bytes)
                yield np.frombuffer(content, header.dtype).reshape(n_rows, header.dimension)
