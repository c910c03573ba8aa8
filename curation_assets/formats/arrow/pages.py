"""Pages of Parquet: their headers tell what memory they take when they are unpacked, before it is taken.

pyarrow's own metadata of a column are not asked: where they are damaged, it ends the process.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from curation_assets.formats.arrow.thrift import Compact
from curation_assets.formats.base import DamagedFileError, RejectionReason
from curation_assets.formats.opening import StorageFile

MOST_PAGE_BYTES = 2**28
"""Of a page when unpacked. Writers cut pages at 1 MiB, a few at 100 MB."""
MOST_ROW_BYTES = 2**22
"""Of a column's values in the mean row, if they are packed into much less than they are."""
_HEADER_READS = (2**12, 2**16, 2**20, 2**24)
_TAIL_BYTES = 8
# By the numbers of the format's specification. A value takes at least an object of Python.
_BYTE_ARRAY, _FIXED_BYTES, _DELTA_BYTE_ARRAY = 6, 7, 7
_VALUE_BYTES = 32
_MOST_SHARED = 2**23


class PageHeader(NamedTuple):
    """The header of a page."""

    header_bytes: int
    n_bytes: int
    """Of the page when unpacked."""
    stored_bytes: int
    n_values: int
    """Of a dictionary, or of a page of data with its nulls."""
    is_dictionary: bool


def parse_page_header(content: bytes) -> PageHeader | None:
    """The header with which `content` begins; None if it is cut or not one."""
    compact = Compact(content)
    try:
        fields = compact.struct()
    except (IndexError, ValueError):
        return None
    # 2 and 3 are sizes; 5, 7 and 8 are a page of data, a dictionary, and newer data.
    inner: Any = next((fields[key] for key in (7, 5, 8) if isinstance(fields.get(key), dict)), {})
    n_bytes, stored_bytes, n_values = fields.get(2), fields.get(3), inner.get(1, 0)
    if not (isinstance(n_bytes, int) and isinstance(stored_bytes, int) and isinstance(n_values, int)):
        return None
    return PageHeader(compact.position, n_bytes, stored_bytes, n_values, 7 in fields)


class GroupSize(NamedTuple):
    """What is known of a row group before it is read."""

    n_rows: int
    n_bytes: int
    """Unpacked, but for dictionaries."""
    shared_bytes: int
    """Of the longest values that several rows may share: a value of a dictionary is stored once."""


@dataclass(slots=True)
class _Chunk:
    """A column's pages in one row group, as they pass."""

    name: str
    stop: int
    offset: int
    """Of the next header."""
    is_repeated: bool
    n_rows: int
    value_bytes: int
    n_values: int = 0
    n_bytes: int = 0


class PagedFile(io.RawIOBase):
    """A Parquet file of which no page is read that would take too much memory.

    Args:
        file: the file; stays open when this is closed.
    """

    def __init__(self, file: StorageFile) -> None:
        self._file = file
        self._chunks: list[_Chunk] = []
        self.size = file.size

    def expect(self, group: int, schema: Any) -> GroupSize:
        """Watch the pages of a row group from now on.

        Args:
            group: its number.
            schema: pyarrow's, of the Parquet file, with a column for each leaf.

        Raises:
            DamagedFileError: UNREADABLE_FILE if what the footer says of the group cannot be followed.
        """
        try:
            return self._expect(self._groups[group], schema)
        except (IndexError, ValueError, KeyError, TypeError, AttributeError) as error:
            detail = "what the footer says of a row group cannot be followed: write the file again"
            raise DamagedFileError(RejectionReason.UNREADABLE_FILE, detail) from error

    def _expect(self, group: dict[int, Any], schema: Any) -> GroupSize:
        self._chunks = []
        n_rows, shared_bytes = group[3], 0
        for i, column in enumerate(group[1]):
            facts = column[3]
            start, dictionary, width = facts[9], facts.get(11), _VALUE_BYTES
            if dictionary:
                start = min(start, dictionary)
                header = self._header_at(dictionary)
                if header is not None and facts[1] in (_BYTE_ARRAY, _FIXED_BYTES):
                    width += header.n_bytes // max(header.n_values, 1)
                    shared_bytes += header.n_bytes
            if _DELTA_BYTE_ARRAY in facts[2]:
                # A value may repeat the beginning of the one before it.
                shared_bytes += min(facts[6], _MOST_SHARED)
            name = ".".join(part.decode("utf-8", "replace") for part in facts[3])
            is_repeated = schema.column(i).max_repetition_level > 0
            self._chunks.append(_Chunk(name, start + facts[7], start, is_repeated, n_rows, width))
        return GroupSize(n_rows, group[2], shared_bytes)

    @cached_property
    def _groups(self) -> list[dict[int, Any]]:
        """The row groups of the footer."""
        back = self._file.tell()
        try:
            self._file.seek(self.size - _TAIL_BYTES)
            n_bytes = int.from_bytes(self._file.read(4), "little")
            self._file.seek(max(self.size - _TAIL_BYTES - n_bytes, 0))
            groups: list[dict[int, Any]] = Compact(self._file.read(n_bytes)).struct()[4]
            return groups
        finally:
            self._file.seek(back)

    def read(self, size: int = -1, /) -> bytes:
        """As the file's; looks at the headers of pages that pass.

        Raises:
            DamagedFileError: UNREADABLE_FILE if a page would take too much memory.
        """
        begin = self._file.tell()
        content = self._file.read(size)
        for chunk in self._chunks:
            while begin <= chunk.offset < min(begin + len(content), chunk.stop):
                at = chunk.offset - begin
                header = parse_page_header(content[at : at + _HEADER_READS[0]])
                header = header or self._header_at(chunk.offset)
                if header is None or header.stored_bytes < 0:
                    # Nor can it be read.
                    chunk.offset = chunk.stop
                    break
                _require_modest(chunk, header)
                chunk.offset += header.header_bytes + header.stored_bytes
        return content

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """As the file's."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """As the file's."""
        return self._file.tell()

    def _header_at(self, offset: int) -> PageHeader | None:
        if not 0 <= offset < self.size:
            return None
        back = self._file.tell()
        try:
            for n_bytes in _HEADER_READS:
                self._file.seek(offset)
                content = self._file.read(n_bytes)
                if (header := parse_page_header(content)) is not None or len(content) < n_bytes:
                    return header
        finally:
            self._file.seek(back)
        return None


def _require_modest(chunk: _Chunk, header: PageHeader) -> None:
    remedy = "write the file again with smaller pages and row groups"
    if header.n_bytes > MOST_PAGE_BYTES:
        detail = (
            f"a page of the column '{chunk.name}' takes {header.n_bytes:,} bytes when it is unpacked, more than "
            f"{MOST_PAGE_BYTES:,}: {remedy}"
        )
        raise DamagedFileError(RejectionReason.UNREADABLE_FILE, detail)
    chunk.n_bytes += header.n_bytes
    if header.is_dictionary or not chunk.is_repeated:
        return
    chunk.n_values += header.n_values
    n_bytes = chunk.n_values * chunk.value_bytes
    # Plain numbers take an eighth of Python's or more.
    if n_bytes > max(MOST_PAGE_BYTES, 8 * chunk.n_bytes, MOST_ROW_BYTES * chunk.n_rows):
        detail = (
            f"{chunk.n_rows:,} rows hold {chunk.n_values:,} values of the column '{chunk.name}', which is more than a "
            f"row may have: leave the column out, or {remedy}"
        )
        raise DamagedFileError(RejectionReason.UNREADABLE_FILE, detail)
