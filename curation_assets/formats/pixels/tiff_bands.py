"""TIFFs of several bands that Pillow refuses, or reads wrong: each is read as gray images, with the same data.

Pillow reads planes of 16 bits as if they had 8, or keeps their upper bytes, and knows few numbers of bands. Another
directory, at the end of the file, makes a gray image of one plane, or of all bands of a row beside each other.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, TiffImagePlugin

Box = tuple[int, int, int, int]
_PLANAR, _BITS, _BANDS, _PHOTOMETRIC, _SAMPLE_FORMAT, _EXTRA_SAMPLES = 284, 258, 277, 262, 339, 338
_COMPRESSION, _FILL_ORDER, _PREDICTOR = 259, 266, 317
_WIDTH, _HEIGHT, _ROWS_PER_STRIP, _TILE_WIDTH, _TILE_HEIGHT = 256, 257, 278, 322, 323
_PER_PLANE = (273, 279, 324, 325)
"""Offsets and sizes of strips and tiles, plane after plane."""
_COPIED = (_WIDTH, _HEIGHT, _COMPRESSION, _FILL_ORDER, _ROWS_PER_STRIP, _PREDICTOR, _TILE_WIDTH, _TILE_HEIGHT)
_SEPARATE, _MIN_IS_BLACK, _RGB = 2, 1, 2
_LOSSLESS = (1, 5, 8, 32946, 32773, 50000)
"""Compressions that know nothing of bands."""
_SHORT, _LONG = 3, 4
_MOST_BANDS = 64
_PREMULTIPLIED, _ALPHA = 1, 2


@dataclass(frozen=True, slots=True)
class TiffBands:
    """A TIFF of several unsigned bands of 8 or 16 bits."""

    content: bytes
    tags: Any
    n_bands: int
    bits: int

    @classmethod
    def read(cls, content: bytes) -> TiffBands | None:
        """The bands of a TIFF; None for other content, and for TIFFs of other kinds."""
        tags = _directory(content)
        if tags is None:
            return None
        bits, n_bands = set(tags.get(_BITS, ())), int(tags.get(_BANDS, 1))
        is_known = (
            1 < n_bands <= _MOST_BANDS
            and bits in ({8}, {16})
            and set(tags.get(_SAMPLE_FORMAT, (1,))) == {1}
            and tags.get(_PHOTOMETRIC) in (0, _MIN_IS_BLACK, _RGB)
            and tags.get(_COMPRESSION, 1) in _LOSSLESS
            and tags.get(_PREDICTOR, 1) in (1, 2)
        )
        return cls(content, tags, n_bands, bits.pop()) if is_known else None

    @property
    def is_separate(self) -> bool:
        """Whether each band is a plane of its own."""
        return bool(self.tags.get(_PLANAR, 1) == _SEPARATE)

    @property
    def width(self) -> int:
        """In pixels, not rotated."""
        return int(self.tags[_WIDTH])

    @property
    def alpha(self) -> str | None:
        """Whether the band after the colours is 'straight' or 'premultiplied' alpha; None if it is neither."""
        extra = self.tags.get(_EXTRA_SAMPLES, ())[:1]
        n_colours = 3 if self.tags[_PHOTOMETRIC] == _RGB else 1
        if len(extra) != 1 or self.n_bands <= n_colours:
            return None
        return {_PREMULTIPLIED: "premultiplied", _ALPHA: "straight"}.get(extra[0])

    def open(self, plane: int = 0) -> Image.Image:
        """One plane, or the bands of all pixels beside each other, as a gray image; neither decoded nor rotated.

        Raises:
            ValueError: if strips or tiles do not share out among the planes.
        """
        return Image.open(BytesIO(self._gray(plane)), formats=["TIFF"])

    def decode(self, n_bands: int) -> Callable[[Box], np.ndarray]:
        """Decode the file. Gives a function that returns a box of the first bands: uint8 or uint16 (height, width, n).

        Raises:
            OSError, ValueError and others of Pillow: if the data are damaged.
        """
        kind = np.uint8 if self.bits == 8 else np.uint16
        if self.is_separate:
            planes = [self.open(plane) for plane in range(n_bands)]
            for plane in planes:
                plane.load()
            return lambda box: np.stack(
                [np.asarray(plane.crop(box)).astype(kind) for plane in planes], axis=-1
            )
        wide = self.open()
        wide.load()

        def read(box: Box) -> np.ndarray:
            left, top, right, bottom = box
            row = wide.crop((0, top, wide.width, bottom))
            values = np.asarray(row).astype(kind).reshape(bottom - top, -1, self.n_bands)
            return self._undifferenced(values)[:, left:right, :n_bands]

        return read

    def _undifferenced(self, values: np.ndarray) -> np.ndarray:
        """Values of whole rows from their differences to the pixel on the left, if the file holds these."""
        if self.tags.get(_PREDICTOR, 1) == 1:
            return values
        step = int(self.tags.get(_TILE_WIDTH, self.width))
        parts = [values[:, start : start + step] for start in range(0, self.width, step)]
        return np.concatenate([part.cumsum(axis=1, dtype=part.dtype) for part in parts], axis=1)

    def _gray(self, plane: int) -> bytes:
        order = _order(self.content)
        single = {_BITS: self.bits, _PHOTOMETRIC: _MIN_IS_BLACK, _BANDS: 1, _PLANAR: 1}
        entries = {tag: [value] for tag, value in single.items()}
        entries |= {tag: [int(self.tags[tag])] for tag in _COPIED if tag in self.tags}
        for tag in _PER_PLANE:
            if tag in self.tags:
                values = [int(value) for value in self.tags[tag]]
                size, rest = divmod(len(values), self.n_bands) if self.is_separate else (len(values), 0)
                if rest or not size:
                    raise ValueError(f"{len(values)} strips or tiles in {self.n_bands} planes")
                entries[tag] = values[plane * size : (plane + 1) * size]
        if not self.is_separate:
            for tag in (_WIDTH, _TILE_WIDTH):
                entries |= {tag: [value * self.n_bands for value in entries[tag]]} if tag in entries else {}
            # A gray image would add up the values of neighbouring bands.
            entries |= {_PREDICTOR: [1]}
        return _with_directory(self.content, order, entries)


def has_deep_planes(image: Image.Image) -> bool:
    """Whether an opened image is a TIFF with values of 16 bits in separate planes."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return False
    tags = image.tag_v2
    return tags.get(_PLANAR) == _SEPARATE and tags.get(_BANDS, 1) > 1 and set(tags.get(_BITS, ())) == {16}


def undecodable_tiff(content: bytes) -> str | None:
    """What a TIFF holds that is not decoded, in words; None for other content."""
    tags = _directory(content)
    if tags is None:
        return None
    kind = {2: "signed", 3: "float"}.get(tags.get(_SAMPLE_FORMAT, (1,))[0], "unsigned")
    return (
        f"a TIFF of {tags.get(_BANDS, 1)} bands of {max(tags.get(_BITS, (1,)))} bits ({kind}), which is not decoded: "
        f"store one band or three bands of 8 or 16 bits"
    )


def _order(content: bytes) -> str:
    return "<" if content.startswith(b"II") else ">"


def _directory(content: bytes) -> Any:
    """Tags of a TIFF; None for other content, a BigTIFF and a directory that cannot be read."""
    if content[:4] not in (b"II*\0", b"MM\0*"):
        return None
    try:
        tags = TiffImagePlugin.ImageFileDirectory_v2(content[:8])
        file = BytesIO(content)
        file.seek(tags.next)
        tags.load(file)
        # Values are read when they are asked for.
        return {tag: tags[tag] for tag in tags} if _WIDTH in tags and _HEIGHT in tags else None
    except Exception:
        # Damaged directories raise as many kinds of errors as images do.
        return None


def _with_directory(content: bytes, order: str, entries: dict[int, list[int]]) -> bytes:
    """A TIFF's content with another directory at its end, which counts."""
    start = len(content) + len(content) % 2
    after_at = start + 2 + 12 * len(entries) + 4
    directory, after = struct.pack(f"{order}H", len(entries)), b""
    for tag, numbers in sorted(entries.items()):
        is_long = tag in (_WIDTH, _HEIGHT, _ROWS_PER_STRIP, _TILE_WIDTH, _TILE_HEIGHT, *_PER_PLANE)
        packed = struct.pack(f"{order}{len(numbers)}{'I' if is_long else 'H'}", *numbers)
        directory += struct.pack(f"{order}HHI", tag, _LONG if is_long else _SHORT, len(numbers))
        if len(packed) <= 4:
            directory += packed.ljust(4, b"\0")
        else:
            directory += struct.pack(f"{order}I", after_at + len(after))
            after += packed
    header = content[:4] + struct.pack(f"{order}I", start)
    return b"".join([header, content[8:].ljust(start - 8, b"\0"), directory, bytes(4), after])
