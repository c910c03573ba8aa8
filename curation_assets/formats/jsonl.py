"""Reads JSON lines, plain or compressed: one object per sample."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from curation_assets.formats.accounts import Account
from curation_assets.formats.attributes import encode_attributes
from curation_assets.formats.base import (
    DamagedFileError,
    RawSample,
    RejectedSampleError,
    Rejection,
    RejectionReason,
    SourceFile,
)
from curation_assets.formats.compression import COMPRESSION_OF_SUFFIX, open_decompressed, stream_faults
from curation_assets.formats.json_documents import parse_json
from curation_assets.formats.listing import PatternReader
from curation_assets.formats.opening import ends_with, first_bytes, open_file
from curation_assets.formats.rows import RowIds
from curation_assets.formats.zstd_frames import most_window
from curation_assets.locations import shows_whole_files
from curation_assets.pools.source import JsonlSource

# Escaped as \uXXXX, a character takes at most three times its UTF-8 (control characters aside).
ESCAPED_GROWTH = 3
ROOM_FOR_OTHER_FIELDS = 2**20
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_BYTES_LOOKED_AT = 64


class JsonlReader(PatternReader[JsonlSource]):
    """Streams the lines of .jsonl, .jsonl.gz and .jsonl.zst; lines count from 0, including blank lines."""

    def is_closed(self, file: SourceFile) -> bool:
        """Whether a plain file ends with a line break, or does not begin with an object.

        For a compressed file that is too costly to check.
        """
        if file.path.endswith(tuple(COMPRESSION_OF_SUFFIX)) or shows_whole_files(self._root):
            return True
        if not file.size_bytes:
            return False
        head = first_bytes(self._root, file.path, _BYTES_LOOKED_AT).removeprefix(_BYTE_ORDER_MARK).lstrip()
        return bool(head and not head.startswith(b"{")) or ends_with(self._root, file.path, b"\n")

    def read(self, file: str, account: Account | None = None) -> Iterator[RawSample | Rejection]:
        """See `ShardReader.read`; peak memory is one line, at most three times `max_text_bytes` and 1 MiB.

        Of a cut or damaged stream, every whole line before the fault is read.
        """
        judge = _Judge(file, self._source)
        account = account or Account()
        with open_file(self._root, file) as handle:
            try:
                stream = open_decompressed(handle, file, most_window(self.memory_budget))
                for line in _lines(stream, judge.most_bytes):
                    if not line.content.strip():
                        continue
                    account.n_seen += 1
                    yield account.took(judge.conclude(line))
            except DamagedFileError as damage:
                yield Rejection(file, file, None, damage.reason, damage.detail)
                return
        account.require_balance(file)
        if not account.n_seen:
            yield Rejection(file, file, None, RejectionReason.EMPTY_FILE, "the file has no line with content")


READER = JsonlReader


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    content: bytes
    """Without its byte order mark; if the line is too long, only its beginning."""
    n_bytes: int
    is_ended: bool
    """Whether a line break follows."""


def _lines(stream: io.BufferedReader, limit: int) -> Iterator[_Line]:
    """Lines split at line feeds only: Unicode's other line breaks may occur in JSON strings."""
    number = 0
    while True:
        with stream_faults():
            content = stream.readline(limit + 1)
            n_bytes, piece = len(content), content
            while len(piece) > limit and not piece.endswith(b"\n"):
                piece = stream.readline(limit + 1)
                n_bytes += len(piece)
        if not content:
            return
        is_ended = piece.endswith(b"\n")
        yield _Line(
            number, content.removeprefix(_BYTE_ORDER_MARK) if not number else content, n_bytes, is_ended
        )
        number += 1


class _Judge:
    """Decides which lines of one file are samples."""

    def __init__(self, file: str, source: JsonlSource) -> None:
        self._file = file
        self._source = source
        self._ids = RowIds(file, source.id_field, "line")
        self.most_bytes = ESCAPED_GROWTH * source.max_text_bytes + ROOM_FOR_OTHER_FIELDS

    def conclude(self, line: _Line) -> RawSample | Rejection:
        sample_id = self._ids.fallback(line.number)
        member = f"line {line.number}"
        try:
            values = self._parse(line)
            sample_id = self._ids.take(line.number, values)
            self._ids.refuse_duplicate(sample_id, line.number)
            text = _text_of(values, self._source.text_field).encode("utf-8")
            attributes = {name: value for name, value in values.items() if name != self._source.text_field}
            parts = {"txt": text, "json": encode_attributes(attributes)}
        except RejectedSampleError as error:
            return Rejection(sample_id, self._file, member, error.reason, error.detail)
        return RawSample(sample_id, self._file, member, line.number, text, parts, attributes)

    def _parse(self, line: _Line) -> dict[str, Any]:
        if line.n_bytes > self.most_bytes:
            detail = (
                f"the line's {line.n_bytes:,} bytes are above {self.most_bytes:,}, the room that "
                f"source.max_text_bytes = {self._source.max_text_bytes:,} gives a line"
            )
            raise RejectedSampleError(RejectionReason.TEXT_TOO_LARGE, detail)
        try:
            return _parse_object(line.content)
        except RejectedSampleError as error:
            content = line.content.strip()
            if line.is_ended or not content.startswith(b"{") or content.endswith(b"}"):
                raise
            detail = f"the file ends inside its last line ({error.detail})"
            raise RejectedSampleError(RejectionReason.TRUNCATED_FILE, detail) from error


def _parse_object(content: bytes) -> dict[str, Any]:
    values = parse_json(content, " of the line")
    if not isinstance(values, dict):
        detail = f"expected an object, got {type(values).__name__}"
        raise RejectedSampleError(RejectionReason.INVALID_JSON, detail)
    return values


def _text_of(values: dict[str, Any], field: str) -> str:
    text = values.get(field)
    if isinstance(text, str):
        return text
    if field not in values:
        detail = f"there is no field '{field}' (source.text_field); there are {', '.join(values) or 'none'}"
    else:
        detail = f"the field '{field}' is {type(text).__name__}, expected a text"
    raise RejectedSampleError(RejectionReason.MISSING_FIELD, detail)
