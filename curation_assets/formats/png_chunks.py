"""Texts and colour profiles of a PNG: those that are too large are taken out, so that its pixels can be read."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MOST_CHUNK_BYTES = 2**20
"""Of a compressed text or profile when unpacked; Pillow refuses the whole image beyond."""
MOST_BYTES = 2**26
"""Of all of them together."""
_PACKED = (b"zTXt", b"iTXt", b"iCCP")
_TEXTS = (*_PACKED, b"tEXt")


def without_large_texts(content: bytes) -> bytes:
    """A PNG without its compressed texts and profiles of more than 1 MiB; other content as it is."""
    if not content.startswith(SIGNATURE):
        return content
    kept: list[memoryview] = [memoryview(SIGNATURE)]
    total, end = 0, len(SIGNATURE)
    for kind, start, stop in _chunks(content):
        end = stop
        if kind in _TEXTS:
            size, is_packed = _unpacked_size(kind, content[start + 8 : stop - 4])
            if (is_packed and size > MOST_CHUNK_BYTES) or total + size > MOST_BYTES:
                continue
            total += size
        kept.append(memoryview(content)[start:stop])
    if sum(map(len, kept)) == end:
        return content
    return b"".join([*kept, memoryview(content)[end:]])


def significant_bits(content: bytes) -> int | None:
    """Bits in use of a PNG's colours, by its chunk sBIT; of several colours the most. None without the chunk."""
    for kind, start, stop in _chunks(content):
        if kind == b"sBIT":
            bits = content[start + 8 : stop - 4]
            # With transparency the last one is that of alpha.
            colours = bits[: 1 if len(bits) < 3 else 3]
            return max(colours) if colours and max(colours) else None
        if kind == b"IDAT":
            break
    return None


def _chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of each whole chunk."""
    start = len(SIGNATURE)
    while start + 12 <= len(content):
        stop = start + 12 + int.from_bytes(content[start : start + 4], "big")
        if stop > len(content):
            return
        yield content[start + 4 : start + 8], start, stop
        start = stop


def _unpacked_size(kind: bytes, body: bytes) -> tuple[int, bool]:
    """Bytes of a text or profile when unpacked (of one above 1 MiB any number above), and whether it is compressed."""
    _, _, rest = body.partition(b"\0")
    if kind == b"iTXt":
        is_packed, rest = rest[:1] == b"\1", rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    else:
        is_packed, rest = kind in _PACKED, rest[1:]
    if not is_packed:
        return len(body), False
    try:
        return len(zlib.decompressobj().decompress(rest, MOST_CHUNK_BYTES + 1)), True
    except zlib.error:
        return 0, True
