"""Images: every format that is decoded, in many modes and with odd options, whole and damaged."""

from __future__ import annotations

import contextlib
import functools
import io
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin, features

from curation_assets.formats.base import RejectedSampleError
from curation_assets.formats.image_extensions import sniff_extension
from curation_assets.formats.images import decode_image, pixel_signatures, read_image_header, thumbnail
from curation_assets_tests.fuzz.harness import Arena, require_repeatable
from curation_assets_tests.fuzz.mutations import damaged

# Pillow warns of damaged tags and of many pixels.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")
MOST_PIXELS = 100_000
SIDE = 9
WAYS = [
    *(("PNG", mode, {}) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16")),
    ("PNG", "RGB", {"interlace": 1}), ("PNG", "P", {"transparency": 0}), ("PNG", "L", {"icc_profile": b"x" * 40}),
    *(("JPEG", mode, {}) for mode in ("L", "RGB", "CMYK")), ("JPEG", "RGB", {"progressive": True}),
    ("JPEG", "RGB", {"exif": True}), ("JPEG", "RGB", {"subsampling": 2, "optimize": True}),
    *(("TIFF", mode, {}) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I", "F", "I;16")),
    *(("TIFF", "RGB", {"compression": name}) for name in ("tiff_lzw", "tiff_deflate", "jpeg", "packbits")),
    ("TIFF", "1", {"compression": "group4"}), ("TIFF", "RGB", {"exif": True}), ("TIFF", "L", {"n_frames": 3}),
    *(("GIF", mode, {}) for mode in ("1", "L", "P")), ("GIF", "P", {"n_frames": 3, "transparency": 1}),
    ("WEBP", "RGB", {}), ("WEBP", "RGBA", {"lossless": True}), ("WEBP", "RGB", {"n_frames": 2}),
    *(("BMP", mode, {}) for mode in ("1", "L", "P", "RGB", "RGBA")),
    *(("PPM", mode, {}) for mode in ("1", "L", "RGB", "I;16", "F")),
    *([("AVIF", "RGB", {"speed": 10}), ("AVIF", "RGBA", {"speed": 10})] if features.check("avif") else []),
]  # fmt: skip
BY_HAND = [
    b"P1\n3 2\n1 0 1\n0 1 0\n", b"P2 2 2 70000 1 2 3 4", b"P3 1 1 255 # c\n 1 2 3", b"P5 1 1 0 a",
    b"P6 99999 99999 255 ",
    b"BM" + bytes(12) + b"\x28" + bytes(60), b"GIF89a\xff\xff\xff\xff\x80\0\0", b"II*\0\x08\0\0\0\xff\xff",
    b"RIFF\xff\xff\xff\xffWEBPVP8X", b"\xff\xd8\xff\xc0\0\x11\x08\xff\xff\xff\xff\x03", b"\x89PNG\r\n\x1a\n",
]  # fmt: skip


def image_of(file_format: str, mode: str, options: dict) -> bytes:
    """A small picture with some noise."""
    options = dict(options)
    values = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE + 2, 4), dtype=np.uint8)
    image = Image.fromarray(values)
    if mode in ("I", "F", "I;16"):
        image = Image.fromarray(
            values[..., 0].astype({"I": np.int32, "F": np.float32, "I;16": np.uint16}[mode]) * 99
        )
    elif mode == "LAB":
        image = Image.frombytes("LAB", image.size, values[..., :3].tobytes())
    elif image.mode != mode:
        image = image.convert("RGB").convert(mode) if mode in ("YCbCr", "CMYK", "P") else image.convert(mode)
    if options.pop("exif", None):
        exif = Image.Exif()
        exif[0x0112], exif[0x010E] = 6, "a description"
        options["exif"] = exif
    if n_frames := options.pop("n_frames", None):
        options |= {"save_all": True, "append_images": [image.rotate(90 * n) for n in range(1, n_frames)]}
    if options.pop("interlace", None):
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_text("k", "v" * 300, zip=True)
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


@functools.cache
def valid_files() -> list[bytes]:
    found = []
    for way in WAYS:
        # Not every Pillow writes every mode.
        with contextlib.suppress(OSError, KeyError, ValueError):
            found.append(image_of(*way))
    return found


def mended(content: bytes) -> bytes:
    """A damaged PNG with right checksums, as far as its chunks can be followed; anything else as it is."""
    if not content.startswith(b"\x89PNG"):
        return content
    out, start = bytearray(content), 8
    while start + 12 <= len(out):
        stop = start + 8 + int.from_bytes(out[start : start + 4], "big")
        if stop + 4 > len(out):
            break
        out[stop : stop + 4] = zlib.crc32(out[start + 4 : stop]).to_bytes(4, "big")
        start = stop + 4
    return bytes(out)


def judged(content: bytes, most_pixels: int = MOST_PIXELS) -> tuple[object, ...]:
    """What the header, the pixels and the thumbnail of an image are, or why they cannot be had."""
    found: list[object] = [sniff_extension(content), sniff_extension(content, strictly=True)]
    for look in (read_image_header, decode_image, thumbnail):
        try:
            seen = look(content, most_pixels)
        except RejectedSampleError as error:
            seen = (error.reason, error.detail)
        if isinstance(seen, Image.Image):
            assert seen.mode == "RGB"
            assert 1 <= seen.width * seen.height <= most_pixels
            seen = (seen.size, seen.tobytes(), pixel_signatures([seen]).tobytes())
        found.append(seen)
    return tuple(found)


def check(arena: Arena, content: bytes) -> None:
    pool = arena.put({"image": content})
    first = judged(content)
    assert judged(content) == first
    for seen in first[2:]:
        if isinstance(seen, tuple) and isinstance(seen[1], str):
            require_repeatable(seen[1], pool)


def test_valid_images_are_decoded() -> None:
    assert len(valid_files()) > 0.8 * len(WAYS)
    for content in valid_files():
        assert decode_image(content, MOST_PIXELS).mode == "RGB"


def test_damaged_images(arena: Arena) -> None:
    arena.explore(
        damaged([*valid_files(), *BY_HAND], mend=mended), 400, lambda content: check(arena, content)
    )
