"""Reads the members of a file that should be a tar, and may be cut or damaged."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass

from curation_assets.errors import ShardError
from curation_assets.formats.base import DamagedFileError, RejectionReason
from curation_assets.formats.compression import COMPRESSED_MAGIC
from curation_assets.formats.opening import StorageFile

BLOCK_BYTES = tarfile.BLOCKSIZE


@dataclass(frozen=True, slots=True)
class TarMember:
    """One regular file of a tar."""

    name: str
    offset: int
    """Byte offset of its data inside the tar."""
    content: bytes


def is_no_header(block: bytes) -> bool:
    """Whether the first block of a file shows that it is no tar; an incomplete or empty block shows nothing."""
    if len(block) < BLOCK_BYTES:
        return False
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return True
    return False


def iterate_members(file: StorageFile) -> Iterator[TarMember]:
    """Stream the regular members of an uncompressed tar; holds one member in memory.

    Folders, links, devices and sparse files are skipped, as are pax and GNU headers once applied.

    Args:
        file: at its start.

    Raises:
        DamagedFileError: after the last whole member, if the file is empty, not a tar, cut or damaged. A tar
            without an end-of-archive marker counts as cut: every common tool writes the marker, and without it
            members may be missing.
        ShardError: if storage fails.
    """
    source = _Source(file)
    if source.size == 0:
        raise DamagedFileError(RejectionReason.EMPTY_FILE, "the file has no bytes")
    for header in _headers(source):
        if not header.isreg() or header.issparse():
            continue
        if header.offset_data + header.size > source.size:
            missing = header.offset_data + header.size - source.size
            detail = f"the file ends {missing:,} bytes before the end of {header.name}"
            raise DamagedFileError(RejectionReason.TRUNCATED_FILE, detail, header.name)
        source.seek(header.offset_data)
        yield TarMember(header.name, header.offset_data, source.read(header.size))


def _headers(source: _Source) -> Iterator[tarfile.TarInfo]:
    offset = 0
    tar: tarfile.TarFile | None = None
    while True:
        try:
            if tar is None:
                # Names that are not UTF-8 are escaped: tables cannot hold surrogates.
                tar = tarfile.open(fileobj=source, mode="r:", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
            header = tar.next()
        except ShardError:
            raise
        except Exception as error:
            # On damaged headers tarfile raises ReadError, ValueError, OverflowError, RecursionError and more.
            raise _damage(source, offset, str(error)) from error
        if header is None:
            break
        # Older Pythons accept a negative size and then loop forever (CVE-2025-8194).
        if header.size < 0 or tar.offset <= offset:
            raise _damage(source, offset, "a member has a negative size")
        offset = tar.offset
        yield header
        # tarfile keeps every header for random access, which a stream does not need.
        tar.members.clear()  # type: ignore[attr-defined]
    # tarfile also ends silently at a cut or damaged header; only zeros are a proper end.
    source.seek(offset)
    block = source.read(tarfile.BLOCKSIZE)
    if not block or any(block):
        raise _damage(source, offset, "no header here" if block else "no end-of-archive marker")


def _damage(source: _Source, offset: int, cause: str) -> DamagedFileError:
    if offset == 0 and (not source.ran_short or source.size < tarfile.BLOCKSIZE):
        detail = f"not a tar archive ({cause})"
        for magic, name in COMPRESSED_MAGIC.items():
            if source.head.startswith(magic):
                detail = f"compressed with {name}: decompress it, samples are looked up by their offset"
        return DamagedFileError(RejectionReason.UNREADABLE_FILE, detail)
    if source.ran_short:
        detail = f"the file is cut after byte {min(offset, source.size):,} ({cause}): samples may be missing"
        return DamagedFileError(RejectionReason.TRUNCATED_FILE, detail)
    detail = f"damaged at byte {offset:,} ({cause}): samples after it are lost"
    return DamagedFileError(RejectionReason.UNREADABLE_FILE, detail)


class _Source(io.RawIOBase):
    """The file, with reads bounded by its size: a damaged header may ask for 2^60 bytes."""

    def __init__(self, file: StorageFile) -> None:
        self._file = file
        self.ran_short = False
        """Whether a read asked for bytes beyond the end."""
        self.size = file.size
        self.head = file.read(8)
        self._position = 0

    def read(self, size: int = -1, /) -> bytes:
        if size < 0:
            raise ValueError(f"a header asks for {size} bytes")
        available = max(min(size, self.size - self._position), 0)
        content = b""
        if available:
            self._file.seek(self._position)
            content = self._file.read(available)
        self.ran_short |= len(content) < size
        self._position += len(content)
        return content

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        if whence != os.SEEK_SET or offset < 0:
            raise ValueError(f"a header points to byte {offset}")
        # The file itself is moved by `read`: storage may refuse an offset beyond the end.
        self._position = offset
        return offset

    def tell(self) -> int:
        return self._position
