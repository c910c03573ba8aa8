"""PNGs and TIFFs of given values, which Pillow does not write itself."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence

import numpy as np

_FORMS = {2: "s", 3: "H", 4: "I"}


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(values: np.ndarray, colour: int, extra: bytes = b"") -> bytes:
    """A PNG of 16 bits, of values (height, width, bands); colour 0 is gray, 2 RGB, 4 and 6 these with alpha."""
    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    ends = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + ends


def tiff(
    values: np.ndarray,
    photometric: int,
    tags: Mapping[int, tuple[int, Sequence[int] | bytes]] | None = None,
    *,
    order: str = "<",
    planar: bool = False,
    deflate: bool = False,
) -> bytes:
    """A TIFF of values (height, width) or (height, width, bands) in one strip, or one for each plane.

    `tags` has kind (2 text, 3 short, 4 long) and values by number.
    """
    values = values if values.ndim == 3 else values[..., None]
    height, width, bands = values.shape
    values = values.astype(values.dtype.newbyteorder(order))
    planes = [np.ascontiguousarray(values[..., at]) for at in range(bands)] if planar else [values]
    data = [zlib.compress(plane.tobytes()) if deflate else plane.tobytes() for plane in planes]
    entries: dict[int, tuple[int, Sequence[int] | bytes]] = {
        256: (4, [width]),
        257: (4, [height]),
        258: (3, [values.itemsize * 8] * bands),
        259: (3, [8 if deflate else 1]),
        262: (3, [photometric]),
        273: (4, [0] * len(data)),
        277: (3, [bands]),
        278: (4, [height]),
        279: (4, [len(part) for part in data]),
        284: (3, [2 if planar else 1]),
        **(tags or {}),
    }
    base = 8 + 2 + 12 * len(entries) + 4
    size = sum(len(_packed(order, *entry)) for entry in entries.values() if len(_packed(order, *entry)) > 4)
    entries[273] = (4, np.cumsum([base + size, *map(len, data)])[:-1].tolist())
    directory, after = struct.pack(f"{order}H", len(entries)), b""
    for tag, (kind, numbers) in sorted(entries.items()):
        packed = _packed(order, kind, numbers)
        directory += struct.pack(f"{order}HHI", tag, kind, len(numbers))
        if len(packed) <= 4:
            directory += packed.ljust(4, b"\0")
        else:
            directory += struct.pack(f"{order}I", base + len(after))
            after += packed
    header = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    return b"".join([header, directory, bytes(4), after, *data])


def _packed(order: str, kind: int, numbers: Sequence[int] | bytes) -> bytes:
    if isinstance(numbers, bytes):
        return numbers
    return struct.pack(f"{order}{len(numbers)}{_FORMS[kind]}", *numbers)
