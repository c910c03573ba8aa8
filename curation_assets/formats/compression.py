"""Streams of compressed files that may be cut or damaged: what lies before the fault comes out."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath

import pyarrow as pa

from curation_assets.formats.base import RejectionReason
from curation_assets.formats.opening import StorageFile

COMPRESSED_MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
COMPRESSION_OF_SUFFIX = {".gz": "gzip", ".zst": "zstd", ".zstd": "zstd"}
_BUFFER_BYTES = 2**16


class DamagedStreamError(Exception):
    """The file cannot be read further; what came before is whole."""

    def __init__(self, reason: RejectionReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def open_decompressed(file: StorageFile, path: str) -> io.BufferedReader:
    """The bytes of a file that is plain or compressed with gzip or zstd, which its first bytes tell.

    Args:
        file: at its start.
        path: its name; one that ends in .gz or .zst must be compressed so.

    Raises:
        DamagedStreamError: EMPTY_FILE, or UNREADABLE_FILE if it is compressed otherwise or UTF-16.
    """
    head = file.read(8)
    file.seek(0)
    if not head:
        raise DamagedStreamError(RejectionReason.EMPTY_FILE, "the file has no bytes")
    found = next((name for magic, name in COMPRESSED_MAGIC.items() if head.startswith(magic)), "none")
    expected = COMPRESSION_OF_SUFFIX.get(PurePosixPath(path).suffix, found)
    if found != expected:
        detail = (
            f"its name says {expected}, its first bytes {head[:4].hex(' ')} do not: compress or name it anew"
        )
        raise DamagedStreamError(RejectionReason.UNREADABLE_FILE, detail)
    if found == "gzip":
        return io.BufferedReader(gzip.GzipFile(fileobj=file, mode="rb"), _BUFFER_BYTES)
    if found == "zstd":
        return io.BufferedReader(_ZstdStream(file), _BUFFER_BYTES)
    if found != "none":
        detail = f"compressed with {found}: compress it with gzip or zstd"
        raise DamagedStreamError(RejectionReason.UNREADABLE_FILE, detail)
    if head.startswith(UTF16_MARKS):
        detail = "begins with the byte order mark of UTF-16: convert it to UTF-8"
        raise DamagedStreamError(RejectionReason.UNREADABLE_FILE, detail)
    return io.BufferedReader(file, _BUFFER_BYTES)


@contextmanager
def stream_faults() -> Iterator[None]:
    """Turn what a decompressor raises into a `DamagedStreamError`.

    Raises:
        DamagedStreamError: TRUNCATED_FILE, or UNREADABLE_FILE for bytes that cannot be decompressed.
    """
    try:
        yield
    except (EOFError, OSError, zlib.error) as error:
        # Storage's own errors are no OSError by now, see `StorageFile`.
        if isinstance(error, EOFError) or "Truncated" in str(error):
            detail = "the compressed stream ends before its end marker: what follows is lost"
            raise DamagedStreamError(RejectionReason.TRUNCATED_FILE, detail) from error
        detail = f"the compressed stream is damaged ({error}): what follows is lost"
        raise DamagedStreamError(RejectionReason.UNREADABLE_FILE, detail) from error


class _ZstdStream(io.RawIOBase):
    """Decompresses with pyarrow, which drops the bytes before a fault that lies in the same read."""

    def __init__(self, file: StorageFile) -> None:
        self._file = file
        self._stream = self._restart()
        self._position = 0
        self._fault: OSError | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        if self._fault is not None:
            raise self._fault
        try:
            content = self._stream.read(len(buffer))
        except OSError as error:
            self._fault = error
            content = self._read_up_to_fault()
            if not content:
                raise
        self._position += len(content)
        buffer[: len(content)] = content
        return len(content)

    def _restart(self) -> pa.NativeFile:
        self._file.seek(0)
        return pa.CompressedInputStream(pa.PythonFile(self._file, mode="r"), "zstd")

    def _read_up_to_fault(self) -> bytes:
        """What the failed read lost: less than one buffer, so it may be read byte by byte."""
        stream = self._restart()
        left = self._position
        while left:
            left -= len(stream.read(min(left, 2**20)))
        content = bytearray()
        try:
            while byte := stream.read(1):
                content += byte
        except OSError:
            return bytes(content)
        return bytes(content)
