"""Headers of zstd frames: whether they can be read, and the memory that this takes."""

from __future__ import annotations

from curation_assets.formats.opening import StorageFile

MAGIC = b"\x28\xb5\x2f\xfd"
_SKIPPABLE = b"\x2a\x4d\x18"
_MOST_SKIPPED = 64
MOST_WINDOW = 2**27
"""Bytes of a window that the decompressor accepts."""


def is_zstd(head: bytes) -> bool:
    """Whether a file begins as zstd, perhaps with a frame that readers skip."""
    return head.startswith(MAGIC) or (head[1:4] == _SKIPPABLE and head[0] >> 4 == 5)


def window_of(file: StorageFile) -> int:
    """Bytes of the window of the first frame with content; 0 if there is none. Leaves the file at its start."""
    offset = window = 0
    for _ in range(_MOST_SKIPPED):
        file.seek(min(offset, file.size))
        head = file.read(18)
        if len(head) >= 8 and head[1:4] == _SKIPPABLE:
            offset += 8 + int.from_bytes(head[4:8], "little")
            continue
        window = _window(head) if head.startswith(MAGIC) else 0
        break
    file.seek(0)
    return window


def _window(head: bytes) -> int:
    """From the header of a frame, as RFC 8878 describes it."""
    if len(head) < 6:
        return 0
    descriptor = head[4]
    if not descriptor & 0x20:
        base = 1 << (10 + (head[5] >> 3))
        return base + base // 8 * (head[5] & 7)
    # A single segment: the window is the content.
    begin = 5 + (0, 1, 2, 4)[descriptor & 3]
    size = (1, 2, 4, 8)[descriptor >> 6]
    return int.from_bytes(head[begin : begin + size], "little") + (256 if size == 2 else 0)
