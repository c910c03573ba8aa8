from __future__ import annotations

import contextlib
import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from curation_assets.formats.base import RejectedSampleError, Rejection, RejectionReason
from curation_assets.formats.images import ImageHeader, decode_image, read_image_header, thumbnail
from curation_assets.formats.png_chunks import without_large_texts
from curation_assets_tests.formats.tars import image_bytes

LIMIT = 10_000


def encode(image: Image.Image, image_format: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A few bytes of PNG that say they are a huge image."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def reason_of(function, content: bytes, max_pixels: int = LIMIT) -> RejectionReason:
    with pytest.raises(RejectedSampleError) as caught:
        function(content, max_pixels)
    assert caught.value.detail
    return caught.value.reason


EVERY_FUNCTION = pytest.mark.parametrize("function", [read_image_header, decode_image, thumbnail])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\n <!DOCTYPE html><title>404</title>", r"begins with b'\n <!DOCTYPE html': a web page"),
        (b"<svg xmlns=''>", "SVG, which is not decoded"),
        (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC, which is not decoded"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000, which is not decoded"),
        (b"\0\0\0\x20ftypisom", "a video"),
        (bytes(100), "100 bytes, all of them zero"),
        (b"something else", "begins with b'something else': no image format"),
    ],
)
def test_what_is_no_image_is_named_the_same_in_every_process(content, words):
    with pytest.raises(RejectedSampleError) as caught:
        read_image_header(content, LIMIT)
    assert words in caught.value.detail
    assert "0x" not in caught.value.detail


def test_the_address_of_an_object_is_in_no_rejection():
    text = "cannot read <_io.BytesIO object at 0x7fcf1c8e8f40> of <X at 0xAB>"
    expected = "cannot read <_io.BytesIO> of <X>"
    assert Rejection("a", "f", None, RejectionReason.CORRUPT_IMAGE, text).detail == expected
    assert RejectedSampleError(RejectionReason.CORRUPT_IMAGE, text).detail == expected


def png_with(*chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG with more chunks, half of them before its pixels and half behind."""
    content = image_bytes("red", (9, 7))
    begin, end = content.index(b"IDAT") - 4, content.index(b"IEND") - 4
    coded = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    ]
    half = len(coded) // 2
    return b"".join([content[:begin], *coded[:half], content[begin:end], *coded[half:], content[end:]])


LARGE = zlib.compress(b"x" * 3_000_000)


@pytest.mark.parametrize(
    "chunks",
    [
        [(b"zTXt", b"key\0\0" + LARGE)] * 2,
        [(b"iTXt", b"key\0\1\0\0\0" + LARGE)] * 2,
        [(b"iCCP", b"profile\0\0" + LARGE), (b"zTXt", b"key\0\0" + LARGE)],
        [(b"tEXt", b"key\0" + b"x" * 2_000_000)] * 80,
        [(b"zTXt", b"key\0\0broken")] * 2,
    ],
    ids=["zTXt", "iTXt", "iCCP", "much plain text", "broken"],
)
def test_texts_and_profiles_of_a_png_do_not_hide_its_pixels(chunks):
    content = png_with(*chunks)
    assert read_image_header(content, LIMIT).width == 9
    assert decode_image(content, LIMIT).getpixel((4, 3)) == (255, 0, 0)
    assert thumbnail(content, LIMIT)


def test_small_texts_stay_and_a_png_without_large_ones_is_not_copied():
    content = png_with((b"zTXt", b"key\0\0" + zlib.compress(b"small")), (b"tEXt", b"key\0text"))
    assert without_large_texts(content) is content
    large = png_with((b"tEXt", b"key\0text"), (b"zTXt", b"key\0\0" + LARGE))
    assert without_large_texts(large) == large.replace(
        large[large.index(b"zTXt") - 4 : large.index(b"IEND") - 4], b""
    )
    assert without_large_texts(b"GIF89a") == b"GIF89a"


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF"])
def test_every_format_decodes_to_rgb(image_format):
    content = image_bytes("white", (9, 7), image_format)
    assert read_image_header(content, LIMIT) == ImageHeader(9, 7, image_format)
    image = decode_image(content, LIMIT)
    assert (image.mode, image.size, image.getpixel((4, 3))) == ("RGB", (9, 7), (255, 255, 255))


@EVERY_FUNCTION
@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"%!PS-Adobe-3.0 EPSF-3.0\n", bytes(100)])
def test_what_is_no_image_is_rejected(function, content):
    assert reason_of(function, content) == RejectionReason.NOT_AN_IMAGE


@EVERY_FUNCTION
@pytest.mark.parametrize("size", [(101, 100), (12_000, 12_000), (60_000, 60_000), (2**31 - 1, 2**31 - 1)])
def test_an_image_above_the_limit_is_rejected_before_it_is_decoded(function, size):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        assert reason_of(function, bomb(*size)) == RejectionReason.IMAGE_TOO_LARGE
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        assert reason_of(function, bomb(*size)) == RejectionReason.IMAGE_TOO_LARGE


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_the_limit_itself_is_allowed_and_may_exceed_pillows_own(monkeypatch):
    assert decode_image(image_bytes(size=(100, 100)), LIMIT).size == (100, 100)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert decode_image(image_bytes(size=(100, 100)), LIMIT).size == (100, 100)
    assert reason_of(decode_image, image_bytes(size=(101, 100))) == RejectionReason.IMAGE_TOO_LARGE


@pytest.mark.parametrize("function", [decode_image, thumbnail])
@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM"])
def test_a_cut_image_is_corrupt(function, image_format):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8))
    content = encode(noise, image_format)
    expected = {RejectionReason.CORRUPT_IMAGE}
    # The directory of a TIFF and the length of a WebP are needed to see that it is one.
    if image_format in ("TIFF", "WEBP"):
        expected.add(RejectionReason.NOT_AN_IMAGE)
    assert reason_of(function, content[: len(content) // 2]) in expected


def test_a_damaged_png_is_corrupt():
    content = bytearray(image_bytes(size=(50, 50)))
    content[content.index(b"IDAT") + 8] ^= 0xFF
    assert reason_of(decode_image, bytes(content)) == RejectionReason.CORRUPT_IMAGE


def test_transparency_is_laid_on_white():
    assert decode_image(image_bytes((255, 0, 0, 0), mode="RGBA"), LIMIT).getpixel((0, 0)) == (255, 255, 255)
    assert decode_image(image_bytes((0, 0, 0, 128), mode="RGBA"), LIMIT).getpixel((0, 0)) == (127, 127, 127)
    assert decode_image(image_bytes((10, 255), mode="LA"), LIMIT).getpixel((0, 0)) == (10, 10, 10)
    assert decode_image(image_bytes((10, 0), mode="LA"), LIMIT).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("mode", ["P", "L", "RGB"])
def test_a_transparent_colour_is_laid_on_white(mode):
    image = Image.new("RGB", (4, 4), "black").convert(mode)
    key = (0, 0, 0) if mode == "RGB" else image.getpixel((0, 0))
    assert decode_image(encode(image, transparency=key), LIMIT).getpixel((0, 0)) == (255, 255, 255)


def test_palettes_bilevel_and_cmyk_become_rgb():
    red = Image.new("RGB", (4, 4), (200, 0, 0))
    assert decode_image(encode(red.quantize(4)), LIMIT).getpixel((0, 0)) == (200, 0, 0)
    assert decode_image(encode(Image.new("1", (4, 4), 1)), LIMIT).getpixel((0, 0)) == (255, 255, 255)
    for image_format in ("JPEG", "TIFF"):
        pixel = decode_image(encode(red.convert("CMYK"), image_format), LIMIT).getpixel((0, 0))
        assert np.allclose(pixel, (200, 0, 0), atol=4)


@pytest.mark.parametrize("image_format", ["PNG", "TIFF", "PPM"])
def test_16_bits_keep_the_upper_8(image_format):
    image = Image.fromarray(np.array([[0, 0x1234], [0x8000, 0xFFFF]], dtype=np.uint16))
    assert np.asarray(decode_image(encode(image, image_format), LIMIT))[..., 0].tolist() == [
        [0, 0x12],
        [0x80, 0xFF],
    ]


def test_floats_are_stretched():
    values = np.array([[-1.0, 0.0], [0.0, 1.0]], dtype=np.float32)
    assert np.asarray(decode_image(encode(Image.fromarray(values), "TIFF"), LIMIT))[..., 1].tolist() == [
        [0, 128],
        [128, 255],
    ]
    constant = encode(Image.fromarray(np.full((2, 2), 7.0, dtype=np.float32)), "TIFF")
    assert decode_image(constant, LIMIT).getpixel((0, 0)) == (0, 0, 0)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(image_format, orientation):
    upright = Image.new("RGB", (32, 16), "white")
    upright.paste("black", (0, 0, 16, 8))
    inverse = {
        1: lambda image: image,
        2: lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: lambda image: image.transpose(Image.Transpose.ROTATE_180),
        4: lambda image: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: lambda image: image.transpose(Image.Transpose.TRANSPOSE),
        6: lambda image: image.transpose(Image.Transpose.ROTATE_90),
        7: lambda image: image.transpose(Image.Transpose.TRANSVERSE),
        8: lambda image: image.transpose(Image.Transpose.ROTATE_270),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if image_format == "WEBP" else {}
    content = encode(inverse(upright), image_format, exif=exif, **options)
    decoded = np.asarray(decode_image(content, LIMIT), dtype=int)
    assert decoded.shape == (16, 32, 3)
    assert np.abs(decoded - np.asarray(upright)).max() < 40


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_does_not_reject_the_image():
    content = image_bytes("white", (8, 8), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff" + b"\xff" * 20)
    assert decode_image(content, LIMIT).size == (8, 8)


def test_the_first_frame_of_an_animation_counts():
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    content = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode_image(content, LIMIT).getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize(
    ("size", "expected"), [((100, 50), (64, 32)), ((50, 100), (32, 64)), ((5, 3), (5, 3))]
)
@pytest.mark.parametrize("image_format", ["PNG", "JPEG"])
def test_a_thumbnail_is_small_and_keeps_its_shape(size, expected, image_format):
    content = thumbnail(image_bytes("red", size, image_format), LIMIT)
    assert content == thumbnail(image_bytes("red", size, image_format), LIMIT)
    assert len(content) < 1000
    with Image.open(io.BytesIO(content)) as image:
        assert (image.format, image.size) == ("WEBP", expected)


@given(
    image_format=st.sampled_from(["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM"]),
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6),
)
@settings(max_examples=200, deadline=None)
def test_damaged_bytes_decode_or_are_rejected(image_format, flips):
    content = bytearray(image_bytes("red", (16, 16), image_format))
    for position, value in flips:
        content[int(position * len(content))] = value
    with contextlib.suppress(RejectedSampleError):
        assert decode_image(bytes(content), LIMIT).mode == "RGB"
