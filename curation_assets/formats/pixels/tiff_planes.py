"""TIFFs of 16 bits whose colours lie in separate planes: each plane as a gray TIFF of its own.

Pillow reads such planes as if they had 8 bits, or keeps their upper bytes only.
"""

from __future__ import annotations

import struct
from io import BytesIO
from typing import Any

from PIL import Image, TiffImagePlugin

_PLANAR, _BITS, _BANDS, _PHOTOMETRIC, _SAMPLE_FORMAT = 284, 258, 277, 262, 339
_COMPRESSION, _FILL_ORDER, _PREDICTOR = 259, 266, 317
_WIDTH, _HEIGHT, _ROWS_PER_STRIP, _TILE_WIDTH, _TILE_HEIGHT = 256, 257, 278, 322, 323
_PER_PLANE = (273, 279, 324, 325)
"""Offsets and sizes of strips and tiles, plane after plane."""
_COPIED = (
    *(_WIDTH, _HEIGHT, _COMPRESSION, _FILL_ORDER, _ROWS_PER_STRIP, _PREDICTOR),
    *(_TILE_WIDTH, _TILE_HEIGHT, _SAMPLE_FORMAT),
)
_SEPARATE, _MIN_IS_BLACK = 2, 1
_SHORT, _LONG = 3, 4
_BIG_TIFF = 43


def has_deep_planes(image: Image.Image) -> bool:
    """Whether an opened image is a TIFF with values of 16 bits in separate planes."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return False
    tags = image.tag_v2
    return (
        tags.get(_PLANAR) == _SEPARATE
        and tags.get(_BANDS, 1) > 1
        and set(tags.get(_BITS, ())) == {16}
        and tags.get(_PHOTOMETRIC) in (0, 1, 2)
    )


def undecodable_tiff(content: bytes) -> str | None:
    """What a TIFF holds that is not decoded, in words; None for other content."""
    if content[:4] not in (b"II*\0", b"MM\0*"):
        return None
    try:
        tags: Any = TiffImagePlugin.ImageFileDirectory_v2(content[:8])
        file = BytesIO(content)
        file.seek(tags.next)
        tags.load(file)
        bits, kinds = tags.get(_BITS, (1,)), tags.get(_SAMPLE_FORMAT, (1,))
        kind = {2: "signed", 3: "float"}.get(kinds[0], "unsigned")
        return (
            f"a TIFF of {tags.get(_BANDS, 1)} bands of {max(bits)} bits ({kind}), which is not decoded: store one band "
            f"or three bands of 8 or 16 bits"
        )
    except Exception:
        # Damaged directories raise as many kinds of errors as images do.
        return None


def open_planes(image: Image.Image, content: bytes, n_planes: int) -> list[Image.Image]:
    """The first planes of a TIFF as gray images of 16 bits, not yet decoded and not rotated.

    Raises:
        ValueError: if the file has fewer planes, or its header is that of a BigTIFF.
    """
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        raise ValueError("only a TIFF has planes")
    order = "<" if content.startswith(b"II") else ">"
    if struct.unpack(f"{order}H", content[2:4])[0] == _BIG_TIFF:
        raise ValueError("a BigTIFF of 16 bits in separate planes: store it with its bands by pixel")
    bands = int(image.tag_v2[_BANDS])
    return [
        Image.open(BytesIO(_plane(image.tag_v2, content, order, k, bands)), formats=["TIFF"])
        for k in range(n_planes)
    ]


def _plane(tags: Any, content: bytes, order: str, plane: int, bands: int) -> bytes:
    """A TIFF with the same data and a directory, at its end, that names one plane only."""
    entries: dict[int, list[int]] = {_BITS: [16], _PHOTOMETRIC: [_MIN_IS_BLACK], _BANDS: [1], _PLANAR: [1]}
    for tag in _COPIED:
        if tag in tags:
            value = tags[tag]
            entries[tag] = [int(value[0] if isinstance(value, tuple) else value)]
    for tag in _PER_PLANE:
        if tag in tags:
            values = tags[tag]
            size, rest = divmod(len(values), bands)
            if rest or not size:
                raise ValueError(f"{len(values)} strips or tiles in {bands} planes")
            entries[tag] = [int(value) for value in values[plane * size : (plane + 1) * size]]
    start = len(content) + len(content) % 2
    values_at = start + 2 + 12 * len(entries) + 4
    directory, values_after = struct.pack(f"{order}H", len(entries)), b""
    for tag, numbers in sorted(entries.items()):
        is_long = tag in (_WIDTH, _HEIGHT, _ROWS_PER_STRIP, *_PER_PLANE)
        packed = struct.pack(f"{order}{len(numbers)}{'I' if is_long else 'H'}", *numbers)
        directory += struct.pack(f"{order}HHI", tag, _LONG if is_long else _SHORT, len(numbers))
        if len(packed) <= 4:
            directory += packed.ljust(4, b"\0")
        else:
            directory += struct.pack(f"{order}I", values_at + len(values_after))
            values_after += packed
    header = content[:4] + struct.pack(f"{order}I", start)
    return b"".join([header, content[8:].ljust(start - 8, b"\0"), directory, bytes(4), values_after])
