"""Decodes untrusted images; a fault becomes a `RejectedSampleError`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image, UnidentifiedImageError, features

from curation_assets.formats.base import RejectedSampleError, RejectionReason
from curation_assets.formats.file_kinds import what_begins_so
from curation_assets.formats.png_chunks import without_large_texts

# The only decoders of Pillow that see untrusted bytes; its EPS reader, for example, runs Ghostscript.
DECODERS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", *(["AVIF"] if features.check("avif") else []))
EXIF_ORIENTATION = 0x0112
SIGNATURE_PIXELS = 8
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
        return ImageHeader(image.width, image.height, image.format or "")


def decode_image(content: bytes, max_pixels: int) -> Image.Image:
    """Decode an image (the first frame of an animation) to RGB, upright by its EXIF orientation.

    Transparent pixels are blended with white. 16-bit channels keep their upper 8 bits; larger integers and floats are
    scaled from their minimum and maximum. Peak memory is about 12 bytes per pixel.

    Raises:
        RejectedSampleError: NOT_AN_IMAGE, IMAGE_TOO_LARGE above `max_pixels` (before any pixel is decoded),
            or CORRUPT_IMAGE if the pixels are cut, damaged or cannot be converted to RGB.
    """
    with _open(content, max_pixels) as image, _faults_as(RejectionReason.CORRUPT_IMAGE):
        return _to_upright_rgb(image)


def thumbnail(content: bytes, max_pixels: int, side: int = 64) -> bytes:
    """A small WebP of an image, its longer side at most `side` pixels; small images are not enlarged.

    Raises:
        RejectedSampleError: as `decode_image`.
    """
    with _open(content, max_pixels) as image, _faults_as(RejectionReason.CORRUPT_IMAGE):
        # The JPEG decoder then skips most of its work; twice the side keeps the result sharp.
        image.draft(None, (2 * side, 2 * side))
        small = _to_upright_rgb(image)
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
        raise RejectedSampleError(reason, what_begins_so(content)) from error
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
        image = Image.open(BytesIO(without_large_texts(content)), formats=DECODERS)
    if image.width < 1 or image.height < 1:
        raise RejectedSampleError(RejectionReason.NOT_AN_IMAGE, f"{image.width} x {image.height} pixels")
    if image.width * image.height > max_pixels:
        detail = f"{image.width:,} x {image.height:,} pixels are above the limit of {max_pixels:,}"
        raise RejectedSampleError(RejectionReason.IMAGE_TOO_LARGE, detail)
    return image


def _to_upright_rgb(image: Image.Image) -> Image.Image:
    # First, because the TIFF decoder rotates the image itself and then drops the tag.
    image.load()
    upright = UPRIGHT_BY_ORIENTATION.get(_orientation(image))
    rgb = _to_rgb(image)
    return rgb if upright is None else rgb.transpose(upright)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(EXIF_ORIENTATION, 1))
    except Exception:
        # Cameras and editors write many kinds of broken EXIF; the pixels are still good.
        return 1


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_to_8_bits(np.asarray(image))).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    rgba = image.convert("RGBA")
    white = Image.new("RGB", rgba.size, "white")
    white.paste(rgba, mask=rgba.getchannel("A"))
    return white


def _to_8_bits(values: np.ndarray) -> np.ndarray:
    """Gray values of any number type, shape (height, width), as uint8."""
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise RejectedSampleError(RejectionReason.CORRUPT_IMAGE, "the image holds NaN or infinite values")
    if values.dtype.kind in "iu" and low >= 0 and high < 2**16:
        return (values >> 8).astype(np.uint8)
    scale = 255.0 / (high - low) if high > low else 0.0
    return ((values.astype(np.float64) - low) * scale).round().astype(np.uint8)
