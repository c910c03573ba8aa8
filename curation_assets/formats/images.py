"""Decodes untrusted images; a fault becomes a `RejectedSampleError`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image, UnidentifiedImageError, features

from curation_assets.formats.base import RejectedSampleError, RejectionReason
from curation_assets.formats.file_kinds import what_begins_so
from curation_assets.formats.pixels.deep import (
    decode_bands,
    decode_colours,
    decode_gray,
    deep_order,
    has_alpha,
    is_gray_and_deep,
)
from curation_assets.formats.pixels.grounds import on_visible_ground
from curation_assets.formats.pixels.tiff_bands import TiffBands, has_deep_planes, undecodable_tiff
from curation_assets.formats.png_chunks import without_large_texts

# The only decoders of Pillow that see untrusted bytes; its EPS reader, for example, runs Ghostscript.
DECODERS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", *(["AVIF"] if features.check("avif") else []))
EXIF_ORIENTATION = 0x0112
SIGNATURE_PIXELS = 8
_BANDS = "tiff_bands"
"""Of the facts of an opened image: bands that Pillow does not know."""
_LARGE_PIXELS = 2**24
_MOST_BANDS_OF_PILLOW = 6
"""Beyond, Pillow logs an error for each image."""
UPRIGHT_BY_ORIENTATION = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """An image's header."""

    width: int
    """In pixels, before EXIF orientation."""
    height: int
    format: str
    """Pillow's name, e.g. JPEG."""


def read_image_header(content: bytes, max_pixels: int) -> ImageHeader:
    """Read an image's size and format without decoding its pixels.

    Raises:
        RejectedSampleError: NOT_AN_IMAGE, or IMAGE_TOO_LARGE above `max_pixels`.
    """
    with _open(content, max_pixels) as image:
        width, height = _size(image)
        return ImageHeader(width, height, image.format or "")


def decode_image(
    content: bytes,
    max_pixels: int,
    *,
    before_pixels: Callable[[int], None] | None = None,
    least_side: int | None = None,
) -> Image.Image:
    """Decode an image (the first frame of an animation) to RGB, upright by its EXIF orientation.

    Transparent pixels are blended with white; with black if white shows one colour only; if black does too, the colours
    count as opaque. Values of 16 bits are shown by the bits in use, wider integers and floats between their bounds (see
    `formats.pixels.ranges`). Peak memory is 8 bytes a pixel.

    Args:
        content: of the file.
        max_pixels: images with more are rejected.
        before_pixels: called with the number of pixels before they are decoded; it may wait for memory.
        least_side: decode a JPEG at a half, a quarter or an eighth of its size, if both sides keep as many pixels. Its
            decoder then skips most of its work. None decodes every image whole.

    Raises:
        RejectedSampleError: NOT_AN_IMAGE, IMAGE_TOO_LARGE above `max_pixels` (before any pixel is decoded),
            or CORRUPT_IMAGE if the pixels are cut, damaged or cannot be converted to RGB.
    """
    with _open(content, max_pixels) as image, _faults_as(RejectionReason.CORRUPT_IMAGE):
        if least_side:
            image.draft(None, (least_side, least_side))
        if before_pixels:
            before_pixels(image.width * image.height)
        return _to_upright_rgb(image, content, max_pixels)


def thumbnail(content: bytes, max_pixels: int, side: int = 64) -> bytes:
    """A small WebP of an image, its longer side at most `side` pixels; small images are not enlarged.

    Raises:
        RejectedSampleError: as `decode_image`.
    """
    with _open(content, max_pixels) as image, _faults_as(RejectionReason.CORRUPT_IMAGE):
        # The JPEG decoder then skips most of its work; twice the side keeps the result sharp.
        image.draft(None, (2 * side, 2 * side))
        # A large image is not copied only to be made small.
        is_large = image.width * image.height > _LARGE_PIXELS
        factor = max(1, min(image.size) // (4 * side)) if is_large else 1
        small = _to_upright_rgb(image, content, max_pixels, reduced_by=factor)
        small.thumbnail((side, side))
        buffer = BytesIO()
        small.save(buffer, "WEBP", quality=80)
        return buffer.getvalue()


def pixel_signatures(images: Sequence[Image.Image]) -> np.ndarray:
    """Images shrunk to 8 x 8 pixels, whatever their shape; resizing and re-encoding hardly change them.

    Largest change of a signature (root mean square, of 255) on 1,200 OpenMoji drawings of 128 pixels: 4.1 by JPEG at
    quality 50, 1.5 by half the size, 6.5 by both, 8.0 by half the size through dropping pixels.

    Args:
        images: RGB.

    Returns:
        uint8 (len(images), 192).
    """
    side = (SIGNATURE_PIXELS, SIGNATURE_PIXELS)
    shrunk = [
        np.asarray(image.resize(side, Image.Resampling.BOX), dtype=np.uint8).ravel() for image in images
    ]
    return np.stack(shrunk) if shrunk else np.empty((0, 3 * SIGNATURE_PIXELS**2), dtype=np.uint8)


@contextmanager
def _faults_as(reason: RejectionReason, content: bytes = b"") -> Iterator[None]:
    try:
        yield
    except (RejectedSampleError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        # Pillow's words name an object in memory, and nothing of its content.
        raise RejectedSampleError(reason, undecodable_tiff(content) or what_begins_so(content)) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise RejectedSampleError(RejectionReason.IMAGE_TOO_LARGE, str(error)) from error
    except Exception as error:
        # On hostile bytes, Pillow's decoders raise OSError, ValueError, SyntaxError, struct.error, IndexError and
        # more; one bad image must not stop a pool of millions.
        raise RejectedSampleError(reason, f"{type(error).__name__}: {error}") from error


def _open(content: bytes, max_pixels: int) -> Image.Image:
    if Image.MAX_IMAGE_PIXELS is not None and max_pixels > Image.MAX_IMAGE_PIXELS:
        # The pool's limit applies here, but Pillow has one limit for the whole process.
        Image.MAX_IMAGE_PIXELS = max_pixels
    if not content:
        raise RejectedSampleError(RejectionReason.NOT_AN_IMAGE, "the member has no bytes")
    with _faults_as(RejectionReason.NOT_AN_IMAGE, content):
        image = _open_many_bands(content) or _open_with_pillow(content)
    width, height = _size(image)
    if width < 1 or height < 1:
        raise RejectedSampleError(RejectionReason.NOT_AN_IMAGE, f"{width} x {height} pixels")
    if width * height > max_pixels:
        detail = f"{width:,} x {height:,} pixels are above the limit of {max_pixels:,}"
        raise RejectedSampleError(RejectionReason.IMAGE_TOO_LARGE, detail)
    return image


def _open_many_bands(content: bytes, more_than: int = _MOST_BANDS_OF_PILLOW) -> Image.Image | None:
    bands = TiffBands.read(content)
    if bands is None or bands.n_bands <= more_than:
        return None
    image = bands.open()
    image.info[_BANDS] = bands
    return image


def _open_with_pillow(content: bytes) -> Image.Image:
    try:
        return Image.open(BytesIO(without_large_texts(content)), formats=DECODERS)
    except UnidentifiedImageError:
        if (image := _open_many_bands(content, more_than=1)) is None:
            raise
        return image


def _size(image: Image.Image) -> tuple[int, int]:
    """Width and height; bands that Pillow does not know lie beside each other in the image."""
    bands = image.info.get(_BANDS)
    return (bands.width if bands else image.width), image.height


def _to_upright_rgb(
    image: Image.Image, content: bytes, max_pixels: int, *, reduced_by: int = 1
) -> Image.Image:
    rgb = _to_rgb(image, content, max_pixels, reduced_by)
    # Last, because the TIFF decoder rotates the image itself and then drops the tag.
    upright = UPRIGHT_BY_ORIENTATION.get(_orientation(image))
    return rgb if upright is None else rgb.transpose(upright)


def _orientation(image: Image.Image) -> int:
    try:
        bands = image.info.get(_BANDS)
        return int((bands.tags if bands else image.getexif()).get(EXIF_ORIENTATION, 1))
    except Exception:
        # Cameras and editors write many kinds of broken EXIF; the pixels are still good.
        return 1


def _to_rgb(image: Image.Image, content: bytes, max_pixels: int, reduced_by: int) -> Image.Image:
    """As RGB; one with transparency may have smaller sides by a factor."""
    is_transparent = has_alpha(image)
    bands = image.info.get(_BANDS) or (TiffBands.read(content) if has_deep_planes(image) else None)
    if bands:
        image = decode_bands(bands)
        is_transparent = image.mode == "RGBA"
    elif is_gray_and_deep(image):
        image = decode_gray(image, content)
        is_transparent = image.mode == "RGBA"
    elif order := deep_order(image):
        image = decode_colours(image, order, lambda: _open(content, max_pixels), content)
        is_transparent = image.mode == "RGBA"
    else:
        image.load()
    if is_transparent:
        return on_visible_ground(image, reduced_by)
    return image if image.mode == "RGB" else image.convert("RGB")
