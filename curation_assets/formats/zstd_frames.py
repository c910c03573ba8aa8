"""zstd: headers of frames, the memory that reading them takes, and their content."""

from __future__ import annotations

import math
import sys
from typing import Any, BinaryIO, cast

from curation_assets.errors import ShardError
from curation_assets.formats.opening import StorageFile
from curation_assets.pools.memory import LEAST_MEMORY_BUDGET

MAGIC = b"\x28\xb5\x2f\xfd"
_SKIPPABLE = b"\x2a\x4d\x18"
_MOST_SKIPPED = 64
USUAL_WINDOW = 2**27
"""Bytes of a window that every reader of zstd accepts."""
LONGEST_WINDOW = 2**31
"""Bytes of the longest window that there is."""
_TOO_LONG = "Frame requires too much memory"


def most_window(memory_budget: int | None) -> int:
    """Bytes of the longest window, a power of two, that fits into a pool's `memory_budget`; None is the least."""
    room = (memory_budget or 0) - LEAST_MEMORY_BUDGET
    return min(max(USUAL_WINDOW, 2 ** int(math.log2(max(room, 1)))), LONGEST_WINDOW)


def too_long(path: str, window: int, longest: int) -> ShardError:
    """The error for a file that takes more memory to decompress than `longest` bytes.

    Args:
        path: of the file.
        window: bytes of the window; 0 if it is not known.
        longest: see `most_window`.
    """
    size = (
        f"a zstd window of {window / 2**20:,.0f} MiB, more than" if window else "a zstd window of more than"
    )
    budget = LEAST_MEMORY_BUDGET + 2 ** math.ceil(math.log2(window)) if window else 0
    may_raise = budget and window <= LONGEST_WINDOW
    raising = f"set memory_budget to {math.ceil(budget / 1e8) / 10:g} GB or more, or " if may_raise else ""
    return ShardError(
        f"{path}: is compressed with {size} the {longest / 2**20:,.0f} MiB that memory_budget leaves for it: "
        f"{raising}compress it again without --long, e.g. with zstd -d --long=31 -c FILE | zstd -o NEW"
    )


def open_frames(file: BinaryIO, path: str, longest: int) -> BinaryIO:
    """The content of all frames of a file.

    Args:
        file: at its start.
        path: its name in messages.
        longest: most bytes of a window, a power of two; reading takes as many.

    Raises:
        EOFError: when read, if the file ends inside a frame.
        OSError: when read, if a frame is damaged.
        ShardError: when read, if the window of a frame is too long.
    """
    return cast(BinaryIO, _Frames(file, path, longest))


class _Frames:
    def __init__(self, file: BinaryIO, path: str, longest: int) -> None:
        zstd = library()
        self._path, self._longest = path, longest
        self._error = zstd.ZstdError
        option = {zstd.DecompressionParameter.window_log_max: longest.bit_length() - 1}
        self._stream = zstd.ZstdFile(file, options=option)

    def read(self, size: int = -1) -> bytes:
        try:
            return cast(bytes, self._stream.read(size))
        except self._error as error:
            reason = str(error).rpartition(": ")[2]
            if reason.startswith(_TOO_LONG):
                raise too_long(self._path, 0, self._longest) from error
            raise OSError(f"ZSTD decompress failed: {reason}") from error


def library() -> Any:
    """Python's own zstd, or the same before Python 3.14."""
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd


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
