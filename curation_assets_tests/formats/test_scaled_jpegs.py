from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from curation_assets.formats.base import RejectedSampleError, RejectionReason
from curation_assets.formats.images import EXIF_ORIENTATION, decode_image, pixel_signatures
from curation_assets_tests.formats.test_images import encode

LIMIT = 10**6


def soft(width: int, height: int) -> Image.Image:
    colours = np.random.default_rng(0).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    return Image.fromarray(colours).resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize(
    ("least", "size"),
    [
        (None, (640, 480)),
        (241, (640, 480)),
        (240, (320, 240)),
        (121, (320, 240)),
        (120, (160, 120)),
        (1, (80, 60)),
    ],
)
def test_both_sides_keep_as_many_pixels(least, size):
    content = encode(soft(640, 480), "JPEG", quality=95)
    asked: list[int] = []
    image = decode_image(content, LIMIT, before_pixels=asked.append, least_side=least)
    assert image.size == size
    assert asked == [size[0] * size[1]], "and take the memory of what is decoded"


def test_the_image_shows_the_same():
    content = encode(soft(640, 480), "JPEG", quality=95)
    whole, scaled = decode_image(content, LIMIT), decode_image(content, LIMIT, least_side=100)
    difference = pixel_signatures([whole]).astype(int) - pixel_signatures([scaled])
    assert np.abs(difference).max() <= 1
    expected = np.asarray(whole.resize(scaled.size, Image.Resampling.BOX), dtype=int)
    assert np.abs(np.asarray(scaled, dtype=int) - expected).mean() < 2


@pytest.mark.parametrize("image_format", ["PNG", "WEBP", "BMP"])
def test_other_formats_are_decoded_whole(image_format):
    assert decode_image(encode(soft(64, 48), image_format), LIMIT, least_side=10).size == (64, 48)


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGB"])
def test_any_mode_and_orientation(mode):
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6
    content = encode(soft(640, 480).convert(mode), "JPEG", exif=exif)
    image = decode_image(content, LIMIT, least_side=100)
    assert (image.mode, image.size) == ("RGB", (120, 160))


def test_a_cut_image_is_still_rejected_and_the_limit_counts_the_whole_image():
    content = encode(soft(640, 480), "JPEG")
    with pytest.raises(RejectedSampleError) as caught:
        decode_image(content[: len(content) // 2], LIMIT, least_side=60)
    assert caught.value.reason is RejectionReason.CORRUPT_IMAGE
    with pytest.raises(RejectedSampleError) as caught:
        decode_image(content, 640 * 480 - 1, least_side=60)
    assert caught.value.reason is RejectionReason.IMAGE_TOO_LARGE
