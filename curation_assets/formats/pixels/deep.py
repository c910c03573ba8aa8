"""Images of more than 8 bits a value: their whole values, and how they are shown with 8."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image, ImageFile, TiffImagePlugin

from curation_assets.formats.base import RejectedSampleError, RejectionReason
from curation_assets.formats.pixels.grounds import strips
from curation_assets.formats.pixels.ranges import (
    VISIBLE_RANGE,
    Declared,
    Scale,
    scale_of_16_bits,
    scale_of_sample,
)
from curation_assets.formats.pixels.tiff_bands import Box, TiffBands
from curation_assets.formats.png_chunks import significant_bits

_OF_COLOURS = re.compile(r"(RGB|RGBX|RGBA|RGBa|LA);16([BLN])")
_LOW_BYTES = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
"""Order of bytes -> the order for which the same decoder keeps the lower byte of each value."""
_DEPTHS = (8, 10, 12, 14, 16)
_MOST_SAMPLED = 2**20
_CLEARLY_BRIGHT = 0.001
"""Share of values in the upper half, beyond which all 16 bits are in use."""
_SMAX, _MAX, _SMIN, _MIN, _GDAL_NO_DATA = 341, 281, 340, 280, 42113
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT, _EXTRA_SAMPLES = 258, 262, 339, 338
_HEIGHT, _UNSIGNED, _RGB = 257, (1,), 2


def is_gray_and_deep(image: Image.Image) -> bool:
    """Whether an image has one value of more than 8 bits for each pixel."""
    return image.mode.startswith("I") or image.mode == "F"


def has_alpha(image: Image.Image) -> bool:
    """Whether an image has transparency. A fourth band of a TIFF that the header does not call alpha is none."""
    if image.mode == "RGBA" and isinstance(image, TiffImagePlugin.TiffImageFile):
        return bool(image.tag_v2.get(_EXTRA_SAMPLES))
    return image.has_transparency_data


def deep_order(image: Image.Image) -> str | None:
    """How the file of an opened image holds colours of 16 bits, as Pillow calls it; None if it does not."""
    found = _OF_COLOURS.fullmatch(str(_arguments(image)[0]))
    if found:
        return found[0]
    is_binary = isinstance(image, ImageFile.ImageFile) and image.format == "PPM" and image.mode == "RGB"
    is_deep = is_binary and _arguments(image)[-1] not in range(256) and image.tile[0].codec_name == "ppm"  # type: ignore[attr-defined]
    return "RGB;16B" if is_deep else None


def decode_gray(image: Image.Image, content: bytes) -> Image.Image:
    """An opened image of modes I, I;16 or F as RGB, or RGBA if one value is transparent.

    Raises:
        RejectedSampleError: CORRUPT_IMAGE if no value is finite.
    """
    declared = _declared(image, content)
    image.load()

    def read(box: Box) -> np.ndarray:
        return _unsigned(image, np.asarray(image.crop(box)))

    scale, is_16_bits = _scale(read, image.size, declared)
    shown = Image.new("RGB", image.size)
    key = image.info.get("transparency")
    alpha = Image.new("L", image.size, 255) if isinstance(key, int) else None
    for box in strips(*image.size):
        values = read(box)
        gray = Image.fromarray(scale.apply(values.astype(np.uint16) if is_16_bits else values))
        shown.paste(gray.convert("RGB"), box)
        if alpha is not None:
            alpha.paste(Image.fromarray(np.where(values == key, 0, 255).astype(np.uint8)), box)
    if alpha is not None:
        shown.putalpha(alpha)
    return shown


def decode_colours(
    image: Image.Image, order: str, reopen: Callable[[], Image.Image], content: bytes
) -> Image.Image:
    """An image of 16 bits a colour as RGB or RGBA of 8 bits; memory: two images of 4 bytes a pixel.

    Colours that use all 16 bits keep the upper 8.

    Args:
        image: opened, not loaded.
        order: as from `deep_order`.
        reopen: opens the same content again.
        content: of the file.
    """
    declared = _declared(image, content)
    is_alpha = has_alpha(image)
    keyed = image.info.get("transparency")
    _take(image, order)
    image.load()
    if not isinstance(keyed, tuple) and order[:2] != "LA" and _uses_all_bits(image):
        return image if is_alpha or image.mode == "RGB" else image.convert("RGB")
    lower = image
    if not order.startswith("LA"):
        lower = reopen()
        _take(lower, order, lower_bytes=True)
        lower.load()
    bands = len(image.getbands())

    def read(box: Box) -> np.ndarray:
        """uint16 (height, width, 3 or 4)."""
        upper = np.asarray(image.crop(box), dtype=np.uint16)
        if order.startswith("LA"):
            gray, alpha = (upper[..., at] << 8 | upper[..., at + 1] for at in (0, 2))
            return np.stack([gray, gray, gray, alpha], axis=-1)
        values = upper << 8 | np.asarray(lower.crop(box), dtype=np.uint16)
        return _straight(values) if order.startswith("RGBa") else values

    return _shown(read, image.size, declared, has_alpha=is_alpha and bands == 4, key=keyed, into=image)


def decode_bands(bands: TiffBands) -> Image.Image:
    """A TIFF of several bands as RGB or RGBA, not rotated: of three or more bands the first three, else the first."""
    n_colours = 1 if bands.n_bands == 2 or (bands.alpha and bands.tags[_PHOTOMETRIC] != _RGB) else 3
    read_bands = bands.decode(n_colours + bool(bands.alpha))
    declared = _declared_by_tags(bands.tags)

    def read(box: Box) -> np.ndarray:
        values = read_bands(box)
        if n_colours == 1:
            values = np.concatenate([values[..., :1]] * 3 + [values[..., 1:]], axis=-1)
        return _straight(values) if bands.alpha == "premultiplied" else values

    size = bands.width, int(bands.tags[_HEIGHT])
    if bands.bits == 8:
        # What 8 bits hold is shown as it is.
        return _shown(
            read, size, declared, has_alpha=bool(bands.alpha), scale=Scale(0.0, 255.0, declared.white_is_low)
        )
    return _shown(read, size, declared, has_alpha=bool(bands.alpha))


def _shown(
    read: Callable[[Box], np.ndarray],
    size: tuple[int, int],
    declared: Declared,
    *,
    has_alpha: bool,
    key: Any = None,
    scale: Scale | None = None,
    into: Image.Image | None = None,
) -> Image.Image:
    """Colours as RGB of 8 bits, or RGBA with alpha or a transparent colour.

    Args:
        read: values of a box, uint16 (height, width, 3 or 4).
        size: width and height.
        declared: by the header.
        has_alpha: whether a fourth value is alpha.
        key: the transparent colour, a tuple of three values.
        scale: of the colours; None chooses it by them.
        into: image that the result may replace strip by strip, to save memory.
    """
    scale = scale or _scale(lambda box: read(box)[..., :3], size, declared)[0]
    of_alpha = _scale(lambda box: read(box)[..., 3:], size, Declared())[0] if has_alpha else None
    if of_alpha is not None:
        # A faint alpha has the depth of the colours; an alpha of all 16 bits may lie beside colours of fewer.
        of_alpha = Scale(0.0, max(scale.high, of_alpha.high))
    is_keyed = isinstance(key, tuple)
    mode = "RGBA" if has_alpha or is_keyed else "RGB"
    shown = into if into is not None and into.mode == mode else Image.new(mode, size)
    for box in strips(*size):
        values = read(box)
        parts = [scale.apply(values[..., :3])]
        if is_keyed:
            opaque = (values[..., :3] != np.array(key)).any(axis=-1, keepdims=True)
            parts.append(np.where(opaque, 255, 0).astype(np.uint8))
        elif of_alpha is not None:
            parts.append(of_alpha.apply(values[..., 3:]))
        shown.paste(Image.fromarray(np.concatenate(parts, axis=-1)), box)
    return shown


def _arguments(image: Image.Image) -> tuple[Any, ...]:
    tiles = getattr(image, "tile", None)
    if not tiles:
        return ("",)
    args = tiles[0].args
    return args if isinstance(args, tuple) and args else (args,)


def _take(image: Any, order: str, *, lower_bytes: bool = False) -> None:
    """Let an opened image decode to the upper, or the lower, bytes of its values."""
    name, _, end = order.partition(";16")
    if name == "LA":
        rawmode = "RGBA"
    else:
        # Pillow would divide by alpha with the upper bytes alone.
        rawmode = f"{name.replace('a', 'A')};16{_LOW_BYTES[end] if lower_bytes else end}"
    tiles = []
    for tile in image.tile:
        args = tile.args
        if tile.codec_name == "ppm":
            tile = tile._replace(codec_name="raw", args=(rawmode, 0, 1))
        else:
            tile = tile._replace(args=(rawmode, *args[1:]) if isinstance(args, tuple) else rawmode)
        tiles.append(tile)
    image.tile = tiles


def _uses_all_bits(image: Image.Image) -> bool:
    """Whether the upper bytes of an image's colours say that all bits are in use, and show something."""
    counts = np.array(image.histogram()).reshape(-1, 256)[:3].sum(axis=0)
    used = np.flatnonzero(counts)
    return bool(
        counts[128:255].sum() > _CLEARLY_BRIGHT * counts.sum() and used[-1] - used[0] > 2 * VISIBLE_RANGE
    )


def _straight(values: np.ndarray) -> np.ndarray:
    """Colours that were multiplied with their alpha, uint16 (height, width, 4), divided by it."""
    alpha = np.maximum(values[..., 3:], 1).astype(np.float64)
    most = next(2**bits - 1 for bits in _DEPTHS if values[..., 3].max() < 2**bits)
    colours = np.minimum(values[..., :3] / alpha, 1.0) * most
    return np.concatenate([colours.round().astype(np.uint16), values[..., 3:]], axis=-1)


def _scale(
    read: Callable[[Box], np.ndarray], size: tuple[int, int], declared: Declared
) -> tuple[Scale, bool]:
    """How an image's values are shown, and whether they are unsigned ones of 16 bits.

    Raises:
        RejectedSampleError: CORRUPT_IMAGE if no value is finite.
    """
    counts: np.ndarray | None = np.zeros(2**16, dtype=np.int64)
    sample: list[np.ndarray] = []
    step = -(-size[0] * size[1] // _MOST_SAMPLED)
    for box in strips(*size):
        values = read(box).ravel()
        finite = values[np.isfinite(values)]
        if values.dtype.kind not in "iu" or values.min() < 0 or values.max() >= 2**16:
            counts = None
        if counts is not None:
            counts += np.bincount(values, minlength=2**16)
        if len(finite):
            sample += [finite[::step], finite.min()[None], finite.max()[None]]
    if counts is not None:
        return scale_of_16_bits(counts, declared), True
    scale = scale_of_sample(np.concatenate(sample), declared) if sample else None
    if scale is None:
        raise RejectedSampleError(
            RejectionReason.CORRUPT_IMAGE, "all values of the image are NaN or infinite"
        )
    return scale, False


def _unsigned(image: Image.Image, values: np.ndarray) -> np.ndarray:
    """Values of 32 bits as the file means them: Pillow takes all for signed."""
    if values.dtype == np.int32 and isinstance(image, TiffImagePlugin.TiffImageFile):
        tags = image.tag_v2
        if tags.get(_BITS) == (32,) and tags.get(_SAMPLE_FORMAT, _UNSIGNED) == _UNSIGNED:
            return values.view(np.uint32)
    return values


def _declared(image: Image.Image, content: bytes) -> Declared:
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return _declared_by_tags(image.tag_v2)
    if image.format == "PNG" and (bits_used := significant_bits(content)):
        return Declared(high=2.0**bits_used - 1)
    if image.format == "PPM":
        args = _arguments(image)
        most = args[-1] if len(args) == 2 and isinstance(args[-1], int) else None
        # Gray values are scaled to 16 bits already.
        if most and most not in (255, 2**16 - 1):
            return Declared(high=2.0**16 - 1 if image.mode == "I" else float(most))
    return Declared()


def _declared_by_tags(tags: Any) -> Declared:
    bits = tags.get(_BITS, (16,))
    high = _number(tags.get(_SMAX, tags.get(_MAX)))
    if max(bits) == 12:
        high = high or 2**12 - 1
    return Declared(
        low=_number(tags.get(_SMIN, tags.get(_MIN))),
        high=None if high in (None, 2.0 ** max(bits) - 1) and max(bits) != 12 else high,
        no_data=_number(tags.get(_GDAL_NO_DATA)),
        white_is_low=tags.get(_PHOTOMETRIC) == 0,
    )


def _number(value: Any) -> float | None:
    """A tag's number; of one for each band the largest. None if it is none."""
    try:
        numbers = [
            float(str(part).strip(" \0")) for part in (value if isinstance(value, tuple) else (value,))
        ]
    except ValueError:
        return None
    return max(numbers) if numbers and np.isfinite(numbers).all() else None
