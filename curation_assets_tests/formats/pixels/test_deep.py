"""Values of more than 8 bits: what is decoded looks like the 8 bits that they hold."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from curation_assets.formats.base import RejectedSampleError, RejectionReason
from curation_assets.formats.images import decode_image, read_image_header
from curation_assets_tests.formats.pixels.files import chunk, png, tiff

RNG = np.random.default_rng(0)
COLOURS = RNG.integers(0, 256, (12, 9, 3)).astype(np.uint16)
COLOURS[0, 0], COLOURS[0, 1] = 255, 0
GRAY = COLOURS[..., 0]
OPAQUE = np.full((12, 9, 1), 255, dtype=np.uint16)
FACTORS = {8: 1, 10: 4, 12: 16, 16: 257}
UNSPECIFIED, ALPHA = {338: (3, [0])}, {338: (3, [2])}


def decoded(content: bytes) -> np.ndarray:
    return np.asarray(decode_image(content, 10_000)).astype(int)


def saved(values: np.ndarray, image_format: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, image_format)
    return buffer.getvalue()


def shows(content: bytes, expected: np.ndarray) -> bool:
    expected = expected if expected.ndim == 3 else np.repeat(expected[..., None], 3, axis=-1)
    return bool(np.abs(decoded(content) - expected).max() <= 2)


@pytest.mark.parametrize("bits", FACTORS)
def test_gray_of_16_bits_is_shown_by_the_bits_in_use(bits: int) -> None:
    values = GRAY * np.uint16(FACTORS[bits])
    for content in (
        saved(values, "PNG"),
        saved(values, "TIFF"),
        tiff(values, 1, order=">"),
        tiff(values, 1, deflate=True),
        tiff(values.astype(np.int16) if bits < 16 else values, 1, {339: (3, [2 if bits < 16 else 1])}),
        tiff(values.astype(np.uint32), 1),
        b"P5\n9 12\n65535\n" + values.astype(">u2").tobytes(),
        png(values[..., None], 0),
        png(np.dstack([values, OPAQUE * 257]), 4),
    ):
        assert shows(content, GRAY)
    assert shows(tiff(values, 0), 255 - GRAY), "the lowest value is white"


@pytest.mark.parametrize("bits", FACTORS)
def test_colours_of_16_bits_are_shown_by_the_bits_in_use_of_all_three(bits: int) -> None:
    factor = np.uint16(FACTORS[bits])
    colours, fourth = COLOURS * factor, GRAY[..., None] * factor
    contents = [png(colours, 2), b"P6\n9 12\n65535\n" + colours.astype(">u2").tobytes()]
    contents += [png(np.dstack([colours, alpha]), 6) for alpha in (OPAQUE * 257, OPAQUE * factor)]
    for form in ({}, {"order": ">"}, {"deflate": True}, {"planar": True}, {"planar": True, "deflate": True}):
        contents += [
            tiff(colours, 2, **form),
            tiff(np.dstack([colours, fourth]), 2, UNSPECIFIED, **form),
            tiff(np.dstack([colours, OPAQUE * factor]), 2, ALPHA, **form),
        ]
    assert all(shows(content, COLOURS) for content in contents)


def test_all_16_bits_keep_the_upper_8() -> None:
    values = RNG.integers(0, 2**16, (12, 9, 3)).astype(np.uint16)
    assert (decoded(png(values, 2)) == values >> 8).all()
    assert (decoded(tiff(values, 2)) == values >> 8).all()


def test_a_fourth_band_is_no_alpha_unless_the_header_says_so() -> None:
    near_infrared = np.dstack([COLOURS, GRAY // 4]).astype(np.uint8)
    assert shows(tiff(near_infrared, 2), COLOURS)
    assert shows(tiff(near_infrared, 2, UNSPECIFIED), COLOURS)
    on_white = decoded(tiff(near_infrared, 2, ALPHA))
    assert on_white.mean() > COLOURS.mean() + 40


@pytest.mark.parametrize("form", [{}, {"order": ">"}, {"deflate": True}, {"planar": True}])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("n_bands", [4, 5, 13])
def test_of_many_bands_the_first_three_are_shown(n_bands: int, kind: type, form: dict) -> None:
    others = np.repeat(GRAY[..., None], n_bands - 3, axis=-1)
    content = tiff(np.dstack([COLOURS, others]).astype(kind), 1, {338: (3, [0] * (n_bands - 1))}, **form)
    assert read_image_header(content, 108).width == 9
    assert shows(content, COLOURS)
    with pytest.raises(RejectedSampleError, match="9 x 12 pixels are above the limit of 107"):
        read_image_header(content, 107)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_differences_of_many_bands_are_added_up_band_by_band(kind: type) -> None:
    values = np.dstack([COLOURS, GRAY, GRAY]).astype(kind)
    differences = np.diff(values, axis=1, prepend=np.zeros((12, 1, 5), dtype=kind))
    tags = {338: (3, [0] * 4), 317: (3, [2])}
    assert shows(tiff(differences, 1, tags, deflate=True), COLOURS)


def test_gray_with_an_extra_band() -> None:
    for kind in (np.uint8, np.uint16):
        assert shows(tiff(np.dstack([GRAY, GRAY // 3]).astype(kind), 1, UNSPECIFIED), GRAY)
        assert shows(tiff(np.dstack([GRAY, OPAQUE]).astype(kind), 1, ALPHA), GRAY)


def test_premultiplied_colours_are_divided_by_alpha() -> None:
    half = np.dstack([COLOURS * 128, OPAQUE * 128])
    assert np.abs(decoded(tiff(half, 2, {338: (3, [1])})) - (COLOURS + 255) // 2).max() <= 2
    gray = np.dstack([GRAY // 2, OPAQUE // 2 + 1]).astype(np.uint8)
    assert np.abs(decoded(tiff(gray, 1, {338: (3, [1])}))[..., 0] - (GRAY + 255) // 2).max() <= 2


def test_headers_that_declare_a_range_are_believed_if_it_shows_something() -> None:
    dark = GRAY[..., None] * 4  # 10 of 12 bits
    assert shows(png(dark, 0, chunk(b"sBIT", b"\x0c")), GRAY // 4)
    assert shows(png(dark * 4, 0, chunk(b"sBIT", b"\x0c")), GRAY)
    assert shows(png(dark // 4 * 257, 0, chunk(b"sBIT", b"\x0c")), GRAY), (
        "scaled up to 16 bits, as the format says"
    )
    assert shows(tiff(GRAY * 39, 1, {341: (3, [255 * 39])}), GRAY)
    assert shows(tiff(GRAY, 1, {281: (3, [65535])}), GRAY), "would show black only"
    assert shows(b"P5\n9 12\n4095\n" + dark.astype(">u2").tobytes(), GRAY // 4)


@pytest.mark.parametrize("no_data", [np.nan, np.inf, -np.inf, -9999.0, -3.4028234e38, 3.4e38, 1e20])
@pytest.mark.parametrize("n_rows", [1, 11])
def test_floats_are_stretched_between_bounds_that_no_data_does_not_move(no_data: float, n_rows: int) -> None:
    values = GRAY.astype(np.float32) / 7
    values[-1, :2] = 0, 255 / 7
    plain = decoded(tiff(values, 1, {339: (3, [3])}))
    values[:n_rows] = no_data
    found = decoded(tiff(values, 1, {339: (3, [3])}))
    assert (found[n_rows:] == plain[n_rows:]).all()
    assert (found[:n_rows] == (255 if no_data > 0 else 0)).all()


def test_no_data_of_integers_and_of_a_tag_is_left_out() -> None:
    def without(values: np.ndarray, no_data: int, tags=None) -> np.ndarray:
        values[:4], values[-1, :2] = no_data, (values.dtype.type(0), values.dtype.type(255 * 16))
        return decoded(tiff(values, 1, tags))[4:-1, :, 0]

    expected = GRAY[4:-1]
    assert np.abs(without(GRAY * 16, 65535) - expected).max() <= 2
    assert np.abs(without(GRAY.astype(np.uint32) * 16, 2**32 - 1) - expected).max() <= 2
    assert np.abs(without(GRAY.astype(np.int16) * 16, -32768, {339: (3, [2])}) - expected).max() <= 2
    assert (
        np.abs(
            without(GRAY.astype(np.int16) * 16, -500, {339: (3, [2]), 42113: (2, b"-500\0")}) - expected
        ).max()
        <= 2
    )


def test_a_hot_pixel_does_not_darken_the_others() -> None:
    wide = RNG.integers(0, 4096, (60, 60)).astype(np.uint16)
    wide[5, 5] = 65535
    assert np.abs(decoded(saved(wide, "TIFF"))[..., 0] - np.minimum(wide // 16, 255)).max() <= 2


def test_a_narrow_band_of_large_values_is_stretched_and_noise_is_not() -> None:
    kelvin = (29_300 + GRAY).astype(np.uint16)
    found = decoded(saved(kelvin, "PNG"))
    assert (found.min(), found.max()) == (0, 255)
    noise = (30_000 + RNG.integers(0, 4, (20, 20))).astype(np.uint16)
    assert np.ptp(decoded(saved(noise, "PNG"))) <= 1


def test_a_map_of_few_classes_keeps_its_rare_ones_apart() -> None:
    classes = np.zeros((60, 60), dtype=np.uint16)
    classes[0, :3] = 1, 2, 20
    assert len(np.unique(decoded(saved(classes, "PNG")))) == 4


def test_a_transparent_value_of_16_bits_is_transparent() -> None:
    key = COLOURS[3, 3] * 16
    found = decoded(png(COLOURS * 16, 2, chunk(b"tRNS", struct.pack(">3H", *key.tolist()))))
    assert (found[3, 3] == 255).all()
    assert abs(found[4, 4] - COLOURS[4, 4]).max() <= 2
    found = decoded(png(GRAY[..., None] * 16, 0, chunk(b"tRNS", struct.pack(">H", int(key[0])))))
    assert (found[3, 3] == 255).all()


def test_a_tiff_that_is_not_decoded_is_described() -> None:
    content = tiff(COLOURS.astype(np.float64), 2, {339: (3, [3] * 3)})
    with pytest.raises(RejectedSampleError, match=r"a TIFF of 3 bands of 64 bits \(float\)") as caught:
        read_image_header(content, 10_000)
    assert caught.value.reason == RejectionReason.NOT_AN_IMAGE
    with pytest.raises(RejectedSampleError, match="all values of the image are NaN or infinite"):
        decoded(tiff(np.full((4, 4), np.nan, dtype=np.float32), 1, {339: (3, [3])}))


def test_a_rotated_tiff_of_planes_is_turned_once() -> None:
    turned = tiff(COLOURS * 16, 2, {274: (3, [6])}, planar=True)
    assert decoded(turned).shape == (9, 12, 3)
    assert np.abs(decoded(turned) - np.rot90(COLOURS.astype(int), -1)).max() <= 2
