"""Transparent images show what they hold, and images of one colour are known."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from curation_assets.formats import images
from curation_assets.formats.images import decode_image
from curation_assets.formats.pixels.grounds import is_near_constant, on_visible_ground


def decoded(image: Image.Image, image_format: str = "PNG", **options) -> np.ndarray:
    return np.asarray(decode_image(encoded(image, image_format, **options), 100_000))


def encoded(image: Image.Image, image_format: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def noise(mode: str = "RGB") -> Image.Image:
    return Image.fromarray(np.random.default_rng(1).integers(0, 256, (30, 40, 3), dtype=np.uint8)).convert(
        mode
    )


@pytest.mark.parametrize(
    ("image_format", "options"), [("PNG", {}), ("WEBP", {"lossless": True, "exact": True}), ("TIFF", {})]
)
@pytest.mark.parametrize("alpha", [0, 3])
def test_colours_under_an_alpha_that_hides_all_are_shown(
    image_format: str, options: dict, alpha: int
) -> None:
    image = noise()
    image.putalpha(alpha)
    assert (decoded(image, image_format, **options) == np.asarray(noise())).all()


def test_a_palette_and_gray_under_such_an_alpha_are_shown() -> None:
    palette = noise().quantize(32)
    assert (decoded(palette, transparency=bytes(256)) == np.asarray(palette.convert("RGB"))).all()
    gray = noise("L")
    gray.putalpha(0)
    assert (decoded(gray)[..., 0] == np.asarray(noise("L"))).all()


@pytest.mark.parametrize("colour", [255, 250])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_white_drawings_are_laid_on_black(mode: str, colour: int) -> None:
    image = Image.new(mode, (40, 40), (colour,) * (len(mode) - 1) + (0,))
    ImageDraw.Draw(image).ellipse([5, 5, 25, 25], fill=(colour,) * (len(mode) - 1) + (255,))
    found = decoded(image)
    assert (found[0, 0] == 0).all()
    assert (found[15, 15] == colour).all()


def test_other_drawings_stay_on_white() -> None:
    image = Image.new("RGBA", (40, 40), (255, 255, 255, 0))
    ImageDraw.Draw(image).ellipse([5, 5, 25, 25], fill="white")
    image.putpixel((15, 15), (0, 0, 0, 255))
    assert (decoded(image)[0, 0] == 255).all()
    assert (decoded(Image.new("RGBA", (4, 4), (0, 0, 0, 0))) == 255).all(), "shows nothing in any way"


def test_a_large_image_is_reduced_on_its_ground(monkeypatch: pytest.MonkeyPatch) -> None:
    image = Image.new("RGBA", (1030, 1200), (255, 255, 255, 0))
    ImageDraw.Draw(image).ellipse([50, 90, 900, 800], fill="white")
    whole, reduced = on_visible_ground(image), on_visible_ground(image, 4)
    assert (np.asarray(whole.reduce(4)) == np.asarray(reduced)).all()
    monkeypatch.setattr(images, "_LARGE_PIXELS", 2**20)
    image = image.resize((2000, 2000))
    with Image.open(io.BytesIO(images.thumbnail(encoded(image), 10**7))) as small:
        assert small.size == (64, 64)
        assert np.asarray(small.convert("L"))[[0, 28], [0, 28]].tolist() == [0, 255]


def test_one_colour_is_near_constant_and_a_few_pixels_of_another_are_not() -> None:
    image = Image.new("RGB", (600, 20), (10, 120, 250))
    assert is_near_constant(image)
    noisy = np.asarray(image).astype(int) + np.random.default_rng(0).integers(-3, 4, (20, 600, 3))
    assert is_near_constant(Image.fromarray(noisy.clip(0, 255).astype(np.uint8)))
    image.putpixel((300, 7), (255, 255, 255))
    assert not is_near_constant(image)
    checks = np.indices((512, 512)).sum(axis=0) % 2 * 255
    assert is_near_constant(Image.fromarray(checks.astype(np.uint8)).convert("RGB")), (
        "gray, as encoders see it"
    )
    assert not is_near_constant(noise())
