"""A sample's attributes as JSON text: what has no column of its own in an output is kept there."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from typing import Any


def attributes_json(attributes: Mapping[str, Any]) -> str | None:
    """The attributes as strict JSON in their own order; None if there are none.

    What JSON has no form for becomes the nearest it has: NaN and infinity null, bytes base64, times ISO 8601,
    other kinds their text.
    """
    if not attributes:
        return None
    try:
        return _dumps(attributes)
    except ValueError:
        return _dumps(_finite(attributes))


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_plain)


def _plain(value: Any) -> Any:
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
