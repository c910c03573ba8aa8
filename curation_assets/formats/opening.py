"""Opens files of a pool; errors of their storage are kept apart from faults inside them."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

from upath import UPath

from curation_assets.errors import ShardError
from curation_assets.locations import full_path


@contextmanager
def storage_errors(path: str) -> Iterator[None]:
    """Turn whatever the storage of `path` raises into a `ShardError`."""
    try:
        yield
    except FileNotFoundError as error:
        raise ShardError(f"{path}: no such file; was it removed after the pool was listed?") from error
    except Exception as error:
        # The clients of object stores raise errors of their own, with no common base class.
        raise ShardError(
            f"{path}: storage failed ({type(error).__name__}: {error}): run the shard again"
        ) from error


def open_file(root: UPath, file: str) -> StorageFile:
    """Open a file below the pool's folder for reading.

    Raises:
        ShardError: if the file does not exist or storage fails.
    """
    with storage_errors(file):
        return StorageFile(cast(BinaryIO, root.fs.open(full_path(root, file), "rb")), file)


def ends_with(root: UPath, file: str, ending: bytes) -> bool:
    """Whether the last bytes of a file are `ending`.

    Raises:
        ShardError: if the file does not exist or storage fails.
    """
    with storage_errors(file):
        return bool(root.fs.tail(full_path(root, file), len(ending)) == ending)


def first_bytes(root: UPath, file: str, n_bytes: int) -> bytes:
    """The first bytes of a file, fewer if it is shorter; none while they are only reserved, which reads as zeros.

    Raises:
        ShardError: if the file does not exist or storage fails.
    """
    with storage_errors(file):
        found = bytes(root.fs.head(full_path(root, file), n_bytes))
    return found if found.strip(b"\0") else b""


class StorageFile(io.RawIOBase):
    """A file whose storage raises only `ShardError`; any other error comes from the file's content.

    Args:
        file: seekable, opened for reading in binary; closed together with this.
        path: its name in messages.
    """

    def __init__(self, file: BinaryIO, path: str) -> None:
        self._file = file
        self._path = path
        with storage_errors(path):
            self.size = file.seek(0, os.SEEK_END)
            file.seek(0)

    def read(self, size: int = -1, /) -> bytes:
        """`size` bytes, or fewer at the end of the file."""
        with storage_errors(self._path):
            return self._file.read(size)

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        """Fill a buffer."""
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move to an offset."""
        with storage_errors(self._path):
            return self._file.seek(offset, whence)

    def tell(self) -> int:
        """The offset of the next read."""
        with storage_errors(self._path):
            return self._file.tell()

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def close(self) -> None:
        """Close the wrapped file too."""
        if not self.closed:
            self._file.close()
        super().close()
