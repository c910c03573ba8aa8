"""Sizes as people write them: `2 GB`, `1.5 GiB`, or a number of bytes."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

LEAST_MEMORY_BUDGET = 12 * 10**8
"""The interpreter and its libraries take most of it: see `PROCESS_BYTES` in algorithms/costs/planning.py."""
LEAST_DEVICE_MEMORY = 10**8
"""Nothing is fitted on a card with less."""
AUTO: Literal["auto"] = "auto"
_SIZE = re.compile(r"(\d+(?:\.\d*)?)\s*([kmgt]?i?b)?", re.IGNORECASE)
_FACTORS = {"b": 1} | {
    f"{letter}{binary}b": (1024 if binary else 1000) ** power
    for power, letter in enumerate("kmgt", start=1)
    for binary in ("", "i")
}


def parse_bytes(value: Any) -> int:
    """Convert a size to bytes.

    Args:
        value: e.g. 2000000000, '2 GB' (2 x 10^9) or '1.5 GiB' (1.5 x 2^30).

    Raises:
        ValueError: if it is neither a whole number nor text with a unit.
    """
    if isinstance(value, int | float) and not isinstance(value, bool) and value == value // 1:
        return int(value)
    found = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise ValueError(
            f"cannot read {value!r} as a size: write a number of bytes, or a number with a unit, e.g. '2 GB' or "
            f"'1.5 GiB'"
        )
    return round(float(found[1]) * _FACTORS[(found[2] or "b").lower()])


def _checked_budget(value: Any) -> int:
    size = parse_bytes(value)
    if size < LEAST_MEMORY_BUDGET:
        raise ValueError(
            f"{size:,} bytes are less than a process and its libraries need: set at least "
            f"{LEAST_MEMORY_BUDGET / 1e9:g} GB"
        )
    return size


def _checked_device_memory(value: Any) -> int | str:
    if value == AUTO:
        return AUTO
    try:
        size = parse_bytes(value)
    except ValueError as error:
        raise ValueError(f"{error}, or auto") from error
    if size < LEAST_DEVICE_MEMORY:
        raise ValueError(
            f"{size:,} bytes are less than any fit takes on a card: set at least {LEAST_DEVICE_MEMORY / 1e9:g} GB, or "
            f"auto"
        )
    return size


MemoryBudget = Annotated[
    int,
    BeforeValidator(_checked_budget),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": LEAST_MEMORY_BUDGET}, {"type": "string"}]}),
]
DeviceMemorySize = Annotated[
    int | Literal["auto"],
    BeforeValidator(_checked_device_memory),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": LEAST_DEVICE_MEMORY}, {"type": "string"}]}),
    Field(
        description="Memory of a GPU that a fit may use: bytes, or text such as `20 GB`. Rows that do not fit are "
        "copied to the GPU in every pass. `auto` takes 0.8 of what is free when the fit begins. Changes no result.",
        examples=["20 GB"],
    ),
]
