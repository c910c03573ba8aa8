"""Reads the members of a file that should be a tar, and may be cut or damaged."""

from __future__ import annotations

import io
import os
import posixpath
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from curation_assets.errors import ShardError
from curation_assets.formats.base import DamagedFileError, RejectionReason
from curation_assets.formats.compression import COMPRESSED_MAGIC
from curation_assets.formats.opening import StorageFile

BLOCK_BYTES = tarfile.BLOCKSIZE
MOST_SAMPLE_BYTES = 2**30
"""Of all members of a sample; links and holes make gigabytes out of nothing."""
_MOST_HOLES = 2**26
_ZEROS_READ = 2**20
_MOST_EMPTY_READS = 64


@dataclass(frozen=True, slots=True)
class TarMember:
    """One file of a tar, or a link to one that lies before it."""

    name: str
    offset: int
    """Byte offset of its data inside the tar; of a link, of where its data would be."""
    content: bytes


@dataclass(frozen=True, slots=True)
class UnreadMember:
    """An entry of a tar that has a name but no content of its own that could be read."""

    name: str
    why: str
    """With a remedy."""
    is_link: bool = False
    """To something that is not in the tar before it; otherwise a device, a pipe, or a file that takes too much room."""
    is_too_large: bool = False


def too_large(name: str, n_bytes: int) -> UnreadMember:
    """In place of a member with which its sample would have this many bytes."""
    why = f"makes a sample of {n_bytes:,} bytes, more than {MOST_SAMPLE_BYTES:,}: remove it from the tar, or shrink it"
    return UnreadMember(name, why, is_too_large=True)


class _Stored(NamedTuple):
    """Where the content of a regular file lies."""

    offset: int
    size: int
    """With its holes."""
    sparse: tuple[tuple[int, int], ...] | None
    """Start and length of each piece that is stored; None for a file without holes."""


def is_no_header(block: bytes) -> bool:
    """Whether the first block of a file shows that it is no tar; an incomplete or empty block shows nothing."""
    if len(block) < BLOCK_BYTES:
        return False
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return True
    return False


def iterate_members(file: StorageFile) -> Iterator[TarMember | UnreadMember]:
    """Stream the entries of an uncompressed tar, all but its folders; holds one member in memory.

    A link to a file that lies before it has that file's content. Sparse files are filled with zeros. Tars that were
    joined end to end are read one after the other. Pax and GNU headers are applied and not shown.

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
    targets: dict[str, _Stored] = {}
    for header, next_offset in _headers(source):
        if header.isdir():
            continue
        if header.issym() or header.islnk():
            yield _linked(source, header, targets)
        elif header.isreg():
            end = next_offset if header.issparse() else header.offset_data + header.size
            if end > source.size:
                detail = f"the file ends {end - source.size:,} bytes before the end of {header.name}"
                raise DamagedFileError(RejectionReason.TRUNCATED_FILE, detail, header.name)
            pieces: Any = header.sparse
            sparse = None if pieces is None else tuple((start, length) for start, length in pieces if length)
            stored = _Stored(header.offset_data, header.size, sparse)
            targets[posixpath.normpath(header.name)] = stored
            yield _member(source, header.name, header.offset_data, stored)
        else:
            yield UnreadMember(
                header.name, "is a device or a pipe, which has no content: remove it from the tar"
            )


def _linked(
    source: _Source, header: tarfile.TarInfo, targets: dict[str, _Stored]
) -> TarMember | UnreadMember:
    name, target = header.name, header.linkname
    if header.issym():
        target = posixpath.join(posixpath.dirname(name), target)
    found = targets.get(posixpath.normpath(target))
    if found is None:
        kind = "symbolic" if header.issym() else "hard"
        why = f"is a {kind} link to {header.linkname}, which is not in the tar before it: pack with tar --dereference"
        why += "" if header.issym() else " --hard-dereference"
        return UnreadMember(name, why, is_link=True)
    targets[posixpath.normpath(name)] = found
    return _member(source, name, header.offset_data, found)


def _member(source: _Source, name: str, offset: int, stored: _Stored) -> TarMember | UnreadMember:
    source.seek(stored.offset)
    if stored.sparse is None and stored.size > MOST_SAMPLE_BYTES:
        return too_large(name, stored.size)
    if stored.sparse is None:
        return TarMember(name, offset, source.read(stored.size))
    end = n_bytes = 0
    for start, length in stored.sparse:
        if start < end or length < 0:
            return UnreadMember(name, "is a sparse file whose map is damaged: pack it without --sparse")
        end, n_bytes = start + length, n_bytes + length
    if end > stored.size or stored.offset + n_bytes > source.size:
        return UnreadMember(name, "is a sparse file whose map is damaged: pack it without --sparse")
    if stored.size - n_bytes > _MOST_HOLES:
        holes = f"{stored.size - n_bytes:,} bytes of holes, more than {_MOST_HOLES:,}"
        return UnreadMember(name, f"is a sparse file with {holes}: remove it from the tar")
    content = bytearray(stored.size)
    for start, length in stored.sparse:
        content[start : start + length] = source.read(length)
    return TarMember(name, offset, bytes(content))


def _headers(source: _Source) -> Iterator[tuple[tarfile.TarInfo, int]]:
    """Each header, with the offset of the next one; also those of further tars behind the end marker."""
    offset = begin = 0
    while True:
        for header, following in _headers_of_one(source, begin):
            offset = following
            yield header, following
        # tarfile also ends silently at a cut or damaged header; only zeros are a proper end.
        source.seek(offset)
        block = source.read(tarfile.BLOCKSIZE)
        if not block or any(block):
            raise _damage(source, offset, "no header here" if block else "no end-of-archive marker")
        marker = offset
        begin = offset = _next_content(source, offset)
        if begin >= source.size:
            return
        source.seek(begin)
        if not _is_header(source.read(tarfile.BLOCKSIZE)):
            detail = (
                f"{source.size - begin:,} bytes lie behind the end marker at byte {marker:,}, and are no tar: what "
                f"they hold is lost; write the tar again, or cut it there (truncate --size={begin})"
            )
            raise DamagedFileError(RejectionReason.UNREADABLE_FILE, detail)


def _headers_of_one(source: _Source, begin: int) -> Iterator[tuple[tarfile.TarInfo, int]]:
    offset = begin
    tar: tarfile.TarFile | None = None
    while True:
        try:
            if tar is None:
                source.seek(begin)
                # Names that are not UTF-8 are escaped: tables cannot hold surrogates.
                tar = tarfile.open(fileobj=source, mode="r:", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
            header = tar.next()
        except ShardError:
            raise
        except Exception as error:
            # On damaged headers tarfile raises ReadError, ValueError, OverflowError, RecursionError and more.
            raise _damage(source, offset, str(error)) from error
        if header is None:
            return
        # Older Pythons accept a negative size and then loop forever (CVE-2025-8194).
        if header.size < 0 or tar.offset <= offset:
            raise _damage(source, offset, "a member has a negative size")
        offset = tar.offset
        yield header, offset
        # tarfile keeps every header for random access, which a stream does not need.
        tar.members.clear()  # type: ignore[attr-defined]


def _next_content(source: _Source, offset: int) -> int:
    """Offset of the first block from `offset` on that is not all zeros; the size of the file if there is none."""
    while offset < source.size:
        source.seek(offset)
        piece = source.read(min(_ZEROS_READ, source.size - offset))
        if not piece:
            break
        if any(piece):
            first = next(i for i, byte in enumerate(piece) if byte)
            return offset + first // tarfile.BLOCKSIZE * tarfile.BLOCKSIZE
        offset += len(piece)
    return source.size


def _is_header(block: bytes) -> bool:
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "backslashreplace")
    except (tarfile.HeaderError, ValueError):
        return False
    return True


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
        self._n_empty = 0

    def read(self, size: int = -1, /) -> bytes:
        if size < 0:
            raise ValueError(f"a header asks for {size} bytes")
        available = max(min(size, self.size - self._position), 0)
        content = b""
        if available:
            self._file.seek(self._position)
            content = self._file.read(available)
        self.ran_short |= len(content) < size
        self._n_empty = 0 if content or not size else self._n_empty + 1
        if self._n_empty > _MOST_EMPTY_READS:
            # tarfile reads a sparse map until it finds a line break, for ever at the end of a file.
            raise ValueError("a header goes beyond the end of the file")
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
