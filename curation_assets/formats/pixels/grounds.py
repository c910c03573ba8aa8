"""Transparent images on a ground, and images of one colour."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

from PIL import Image

from curation_assets.formats.pixels.ranges import VISIBLE_RANGE

STRIP_PIXELS = 2**20
"""Worked on at once, so that no second copy of a large image is made."""
_SIDE = 256
"""Pixels at which an image is judged; about what encoders see."""


def strips(width: int, height: int, multiple: int = 1) -> Iterator[tuple[int, int, int, int]]:
    """Boxes of whole rows, a multiple of a number and about a million pixels, from top to bottom."""
    step = max(1, STRIP_PIXELS // width // multiple) * multiple
    for top in range(0, height, step):
        yield 0, top, width, min(top + step, height)


def is_near_constant(image: Image.Image) -> bool:
    """Whether an RGB image has one colour: reduced to 256 pixels a side, no channel varies by more than 8 of 255."""
    factors = ceil(image.width / _SIDE), ceil(image.height / _SIDE)
    small = image.reduce(factors) if max(factors) > 1 else image
    # Of a single band there is one pair, not a tuple of pairs.
    return all(high - low <= VISIBLE_RANGE for low, high in small.getextrema())  # type: ignore[misc]


def on_visible_ground(image: Image.Image, reduced_by: int = 1) -> Image.Image:
    """An image with transparency as RGB: on white, on black if white shows nothing, or else its colours alone.

    An image that shows nothing in any of these ways is on white.

    Args:
        image: of any mode with transparency.
        reduced_by: factor by which both sides of the result are smaller.
    """
    for ground in ("white", "black", None):
        result = _on(image, ground, reduced_by)
        if not is_near_constant(result):
            return result
        # Large images are in memory twice at most.
        del result
    return _on(image, "white", reduced_by)


def _on(image: Image.Image, ground: str | None, reduced_by: int) -> Image.Image:
    """An image on a colour; None takes its colours as if it were opaque."""
    result = Image.new("RGB", (-(-image.width // reduced_by), -(-image.height // reduced_by)))
    for box in strips(*image.size, reduced_by):
        strip = image.crop(box)
        rgba = (strip.convert("LA") if strip.mode == "La" else strip).convert("RGBA")
        if ground is None:
            shown = rgba.convert("RGB")
        else:
            shown = Image.new("RGB", rgba.size, ground)
            shown.paste(rgba, mask=rgba.getchannel("A"))
        result.paste(shown.reduce(reduced_by) if reduced_by > 1 else shown, (0, box[1] // reduced_by))
    return result
