"""How the report writes numbers and embeds images."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable
from typing import Any

_MISSING = "n/a"
_MINUS = "\u2212"
_SIGNATURES = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"RIFF", "image/webp"))


def whole(value: int | None) -> str:
    """Writes a count with thousands separators."""
    return _MISSING if value is None else f"{value:,}"


def decimal(value: float | None) -> str:
    """Writes a quantity with three digits; from 100 on, without decimals."""
    if value is None or not math.isfinite(value):
        return _MISSING
    size = abs(value)
    digits = 0 if size >= 99.95 else 1 if size >= 9.995 else 2
    return f"{value:,.{digits}f}".replace("-", _MINUS)


def compact(value: float | None) -> str:
    """Writes a quantity of any magnitude; below 0.1 and from 10 million on in scientific notation."""
    if value is None or not math.isfinite(value):
        return _MISSING
    return decimal(value) if value == 0 or 0.1 <= abs(value) < 1e7 else f"{value:.3e}".replace("-", _MINUS)


def ratio(value: float | None) -> str:
    """Writes a number between 0 and 1."""
    return _MISSING if value is None or not math.isfinite(value) else f"{value:.3f}".replace("-", _MINUS)


def percent(value: float | None) -> str:
    """Writes a share as a percentage; only exactly 0 and 1 become 0% and 100%."""
    if value is None or not math.isfinite(value):
        return _MISSING
    if value in (0, 1):
        return f"{value:.0%}"
    if 0 < value < 0.0005:
        return "<0.1%"
    if 0.9995 <= value < 1:
        return ">99.9%"
    return f"{value:.1%}"


def change(value: float | None) -> str:
    """Writes a relative change with its sign."""
    if value is None or not math.isfinite(value):
        return _MISSING
    text = f"{value:+,.0%}" if abs(value) >= 0.0995 else f"{value:+.1%}"
    return text.replace("-", _MINUS)


def image_source(image: bytes) -> str:
    """Embeds an image as a data URI.

    Raises:
        ValueError: If the bytes are neither PNG, JPEG nor WebP.
    """
    for signature, mime in _SIGNATURES:
        if image.startswith(signature):
            return f"data:{mime};base64,{base64.b64encode(image).decode()}"
    raise ValueError(f"an image starts with {image[:8]!r}: encode thumbnails as PNG, JPEG or WebP")


FILTERS: dict[str, Callable[[Any], str]] = {
    "whole": whole,
    "decimal": decimal,
    "compact": compact,
    "ratio": ratio,
    "percent": percent,
    "change": change,
    "image": image_source,
}
