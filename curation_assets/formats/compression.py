"""Decompresses files that may be cut or damaged; everything before the fault is readable."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import PurePosixPath
from typing import BinaryIO, cast

from curation_assets.formats.base import DamagedFileError, RejectionReason
from curation_assets.formats.opening import StorageFile
from curation_assets.formats.zstd_frames import USUAL_WINDOW, is_zstd, open_frames, too_long, window_of

COMPRESSED_MAGIC = {
    b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"\x04\x22\x4d\x18": "lz4",
}  # fmt: skip
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
COMPRESSION_OF_SUFFIX = {".gz": "gzip", ".zst": "zstd", ".zstd": "zstd"}
_BUFFER_BYTES = 2**16


def open_decompressed(file: StorageFile, path: str, longest_window: int = USUAL_WINDOW) -> io.BufferedReader:
    """The bytes of a file that is plain or compressed with gzip or zstd, as its first bytes say.

    Args:
        file: at its start.
        path: its name; a name in .gz or .zst must match the compression.
        longest_window: most bytes of a zstd window, a power of two; see `most_window`.

    Raises:
        DamagedFileError: EMPTY_FILE, or UNREADABLE_FILE for another compression or UTF-16.
        ShardError: if it is sound but takes more memory to decompress than is allowed.
    """
    head = file.read(8)
    file.seek(0)
    if not head:
        raise DamagedFileError(RejectionReason.EMPTY_FILE, "the file has no bytes")
    found = next((name for magic, name in COMPRESSED_MAGIC.items() if head.startswith(magic)), "none")
    if is_zstd(head):
        found = "zstd"
        if (window := window_of(file)) > longest_window:
            raise too_long(path, window, longest_window)
    expected = COMPRESSION_OF_SUFFIX.get(PurePosixPath(path).suffix, found)
    if found != expected:
        detail = (
            f"its name says {expected}, its first bytes {head[:4].hex(' ')} do not: compress or name it anew"
        )
        raise DamagedFileError(RejectionReason.UNREADABLE_FILE, detail)
    if found in ("gzip", "zstd"):
        zstd = partial(open_frames, path=path, longest=longest_window)
        opened = _open_gzip if found == "gzip" else zstd
        return io.BufferedReader(_Decompressed(file, opened), _BUFFER_BYTES)
    if found != "none":
        detail = f"compressed with {found}: compress it with gzip or zstd"
        raise DamagedFileError(RejectionReason.UNREADABLE_FILE, detail)
    if head.startswith(UTF16_MARKS):
        detail = "begins with the byte order mark of UTF-16: convert it to UTF-8"
        raise DamagedFileError(RejectionReason.UNREADABLE_FILE, detail)
    return io.BufferedReader(file, _BUFFER_BYTES)


@contextmanager
def stream_faults() -> Iterator[None]:
    """Turn what a decompressor raises into a `DamagedFileError`.

    Raises:
        DamagedFileError: TRUNCATED_FILE, or UNREADABLE_FILE for bytes that cannot be decompressed.
    """
    try:
        yield
    except _FAULTS as error:
        if isinstance(error, EOFError):
            detail = "the compressed stream ends before its end marker: what follows is lost"
            raise DamagedFileError(RejectionReason.TRUNCATED_FILE, detail) from error
        detail = f"the compressed stream is damaged ({error}): what follows is lost"
        raise DamagedFileError(RejectionReason.UNREADABLE_FILE, detail) from error


# Raised by decompressors; `StorageFile` has already turned storage's own errors into ShardError.
_FAULTS = (EOFError, OSError, zlib.error)


def _open_gzip(file: StorageFile) -> BinaryIO:
    return cast(BinaryIO, gzip.GzipFile(fileobj=file, mode="rb"))


class _Decompressed(io.RawIOBase):
    """A stream that returns every byte before a fault; decompressors drop the bytes of the read that hits it."""

    def __init__(self, file: StorageFile, decompress: Callable[[StorageFile], BinaryIO]) -> None:
        self._file = file
        self._decompress = decompress
        self._stream = decompress(file)
        self._position = 0
        self._fault: Exception | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        if self._fault is not None:
            raise self._fault
        try:
            content = self._stream.read(len(buffer))
        except _FAULTS as error:
            self._fault = error
            content = self._read_up_to_fault()
            if not content:
                raise
        self._position += len(content)
        buffer[: len(content)] = content
        return len(content)

    def _read_up_to_fault(self) -> bytes:
        """The bytes that the failed read lost: fewer than one buffer, so they are read one by one."""
        self._file.seek(0)
        stream = self._decompress(self._file)
        content = bytearray()
        try:
            left = self._position
            while left and (known := stream.read(min(left, _BUFFER_BYTES))):
                left -= len(known)
            while byte := stream.read(1):
                content += byte
        except _FAULTS:
            return bytes(content)
        return bytes(content)
