"""Pages of Parquet: their headers tell what memory they take when they are unpacked, before it is taken."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any, NamedTuple

from curation_assets.formats.base import DamagedFileError, RejectionReason
from curation_assets.formats.opening import StorageFile

MOST_PAGE_BYTES = 2**28
"""Of a page when unpacked. Writers cut pages at 1 MiB, a few at 100 MB."""
MOST_ROW_BYTES = 2**22
"""Of a column's values in the mean row, if they are packed into much less than they are."""
_HEADER_READS = (2**12, 2**16, 2**20, 2**24)
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 12, "FLOAT": 4, "DOUBLE": 8}
# A value is at least an object of Python.
_OBJECT_BYTES = 32
_MOST_NESTING = 16


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
    compact = _Compact(content)
    try:
        fields = compact.struct()
    except (IndexError, ValueError):
        return None
    # By the format's specification: 2 and 3 are sizes; 5, 7 and 8 are a page of data, a dictionary, and newer data.
    inner: Any = next((fields[key] for key in (7, 5, 8) if isinstance(fields.get(key), dict)), {})
    n_bytes, stored_bytes, n_values = fields.get(2), fields.get(3), inner.get(1, 0)
    if not (isinstance(n_bytes, int) and isinstance(stored_bytes, int) and isinstance(n_values, int)):
        return None
    return PageHeader(compact.position, n_bytes, stored_bytes, n_values, 7 in fields)


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

    def expect(self, group: Any, schema: Any) -> int:
        """Watch the pages of a row group from now on.

        Args:
            group: pyarrow's metadata of the row group.
            schema: of the Parquet file, with a column for each leaf.

        Returns:
            Bytes that the values of one row may have beyond what the group's size makes of them: a value of a
            dictionary is stored once, however many rows have it.
        """
        self._chunks = []
        most = 0
        for i in range(group.num_columns):
            facts, leaf = group.column(i), schema.column(i)
            start = facts.data_page_offset
            width = max(_WIDTHS.get(facts.physical_type, 16), _OBJECT_BYTES)
            if facts.has_dictionary_page and facts.dictionary_page_offset is not None:
                start = min(start, facts.dictionary_page_offset)
                header = self._header_at(facts.dictionary_page_offset)
                if header is not None and facts.physical_type not in _WIDTHS:
                    width += header.n_bytes // max(header.n_values, 1)
                    most += header.n_bytes
            if "DELTA_BYTE_ARRAY" in facts.encodings:
                # A value may repeat the beginning of the one before it.
                most += min(facts.total_uncompressed_size, 2**23)
            chunk = _Chunk(
                facts.path_in_schema, start + facts.total_compressed_size, start, leaf.max_repetition_level > 0,
                group.num_rows, width,
            )  # fmt: skip
            self._chunks.append(chunk)
        return most

    def read(self, size: int = -1, /) -> bytes:
        """As the file's; looks at the headers of pages that pass.

        Raises:
            DamagedFileError: UNREADABLE_FILE if a page would take too much memory.
        """
        begin = self._file.tell()
        content = self._file.read(size)
        for chunk in self._chunks:
            while begin <= chunk.offset < min(begin + len(content), chunk.stop):
                header = parse_page_header(content[chunk.offset - begin :][: _HEADER_READS[0]])
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

    def seek(self, offset: int, whence: int = 0, /) -> int:
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
    # Plain numbers take a quarter of Python's or more.
    if n_bytes > max(MOST_PAGE_BYTES, 8 * chunk.n_bytes, MOST_ROW_BYTES * chunk.n_rows):
        detail = (
            f"{chunk.n_rows:,} rows hold {chunk.n_values:,} values of the column '{chunk.name}', which is more than a "
            f"row may have: leave the column out, or {remedy}"
        )
        raise DamagedFileError(RejectionReason.UNREADABLE_FILE, detail)


class _Compact:
    """Decodes Thrift's compact protocol, in which headers of pages are written.

    Raises:
        IndexError: if the bytes end too early.
        ValueError: if they cannot be decoded.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.position = 0

    def struct(self, depth: int = 0) -> dict[int, Any]:
        """The fields of a struct by their numbers; texts and lists are passed over."""
        fields: dict[int, Any] = {}
        number = 0
        while kind_and_step := self._byte():
            step, kind = kind_and_step >> 4, kind_and_step & 15
            number = number + step if step else self._integer()
            fields[number] = self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (1, 2):
            return kind == 1
        if kind == 3:
            return self._byte()
        if kind in (4, 5, 6):
            return self._integer()
        if kind in (7, 8):
            self._skip(8 if kind == 7 else self._varint())
            return None
        if kind in (9, 10) and depth < _MOST_NESTING:
            size_and_kind = self._byte()
            size = size_and_kind >> 4
            for _ in range(self._varint() if size == 15 else size):
                # In a list, a boolean takes a byte.
                self._value(3 if size_and_kind & 15 in (1, 2) else size_and_kind & 15, depth + 1)
            return None
        if kind == 12 and depth < _MOST_NESTING:
            return self.struct(depth + 1)
        raise ValueError(f"no type {kind}")

    def _byte(self) -> int:
        self.position += 1
        return self._content[self.position - 1]

    def _skip(self, n_bytes: int) -> None:
        self.position += n_bytes
        if self.position > len(self._content):
            raise IndexError

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
            if shift > 63:
                raise ValueError("a number is too long")

    def _integer(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
