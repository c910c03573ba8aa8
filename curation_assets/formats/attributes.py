"""A sample's attributes as strict JSON, for a part of the sample and for a column of an output."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from curation_assets.formats.base import RejectedSampleError, RejectionReason


def attributes_json(attributes: Mapping[str, Any]) -> str | None:
    """The attributes as JSON in their own order, for outputs; None if there are none.

    NaN and infinity become null, bytes base64, times ISO 8601, other types their text.
    """
    return strict_json(attributes, default=plain, separators=(",", ":")) if attributes else None


def encode_attributes(attributes: Mapping[str, Any]) -> bytes:
    """A row's values as JSON with sorted keys, for its part `json`: NaN and infinity become null, other types text.

    Raises:
        RejectedSampleError: INVALID_JSON if they are nested too deeply.
    """
    try:
        return strict_json(attributes, default=str, sort_keys=True).encode("utf-8")
    except RecursionError as error:
        raise RejectedSampleError(RejectionReason.INVALID_JSON, f"nested too deeply: {error}") from error


def strict_json(value: Any, *, default: Callable[[Any], Any], **layout: Any) -> str:
    """JSON in which NaN and infinity are null.

    Args:
        value: mappings, lists and scalars.
        default: gives a value for a type that JSON lacks.
        layout: further arguments of `json.dumps`.
    """
    options = {"ensure_ascii": False, "allow_nan": False, "default": default, **layout}
    try:
        return json.dumps(value, **options)
    except ValueError:
        return json.dumps(_finite(value), **options)


def plain(value: Any) -> Any:
    """A value that JSON lacks as one that it has: bytes as base64, times in ISO 8601, others as their text."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return value.item() if hasattr(value, "item") else str(value)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(inner) for name, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list | tuple) else value
