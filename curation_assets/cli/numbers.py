"""Numbers as people write them in options (`743e6`, `10M`, `100_000`, `80 GB`), and as they are printed."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

import click

from curation_assets.pools.memory import parse_bytes

_FACTORS = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9}
_COUNT = re.compile(r"([\d._]+(?:e\+?\d+)?)\s*([kmb]?)", re.IGNORECASE)


class Count(click.ParamType):
    """A positive integer: `743000000`, `743_000_000`, `743e6` or `743M` (k, M, B)."""

    name = "count"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """See `click.ParamType`."""
        found = _COUNT.fullmatch(str(value).strip())
        try:
            number = Decimal(found[1].replace("_", "")) * _FACTORS[found[2].lower()] if found else Decimal(0)
        except InvalidOperation:
            number = Decimal(0)
        if number < 1 or number != number.to_integral_value():
            self.fail(
                f"expected a positive integer such as 743000000, 743e6 or 743M, got {value!r}",
                param,
                ctx,
            )
        return int(number)


class Counts(click.ParamType):
    """Counts separated by commas, e.g. `10M,500k,50k`."""

    name = "count,..."

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """See `click.ParamType`."""
        if isinstance(value, tuple):
            return value
        return tuple(Count().convert(part, param, ctx) for part in str(value).split(","))


class Bytes(click.ParamType):
    """A size: bytes, or text with a unit (`80 GB`, `1.5 GiB`)."""

    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """See `click.ParamType`."""
        try:
            return parse_bytes(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def size(n_bytes: float) -> str:
    """Bytes in decimal units, for people; empty for 0."""
    for unit, factor in (("PB", 1e15), ("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if n_bytes >= factor:
            return f"{n_bytes / factor:,.1f} {unit}"
    return f"{n_bytes / 1e6:,.1f} MB" if n_bytes else ""


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, for people."""
    if seconds < 120:
        return f"{seconds:,.1f} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:,.1f} min"
    return f"{seconds / 3600:,.1f} h"
