"""Cron expressions that Dagster's schedules understand."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_WEEKDAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day", 1, 31, {}),
    ("month", 1, 12, {name: number for number, name in enumerate(_MONTHS, start=1)}),
    ("weekday", 0, 7, {name: number for number, name in enumerate(_WEEKDAYS)}),
)
_ENTRY = re.compile(r"(?:\*|(?P<first>\w+)(?:-(?P<last>\w+))?)(?:/(?P<step>[0-9]+))?")
_LONGEST_MONTH = {2: 29}


def checked_cron(value: str) -> str:
    """A cron expression of five fields: numbers, names, ranges, steps, and lists of these.

    Raises:
        ValueError: naming the field and what it may be.
    """
    fields = value.split()
    if len(fields) != len(_FIELDS):
        raise ValueError(
            "a cron expression has five fields: minute, hour, day, month, weekday, e.g. '0 3 * * 0'"
        )
    for text, (what, lowest, highest, names) in zip(fields, _FIELDS, strict=True):
        for entry in text.lower().split(","):
            if not _is_sound(entry, lowest, highest, names):
                also = f", a name such as {next(iter(names))}" if names else ""
                raise ValueError(
                    f"the {what} '{entry}' of the cron expression makes no sense: give a number from {lowest} to "
                    f"{highest}{also}, a range such as {lowest}-{lowest + 2}, or *, with or without a step such as */2"
                )
    if (
        fields[3].isdigit()
        and fields[2].isdigit()
        and int(fields[2]) > _LONGEST_MONTH.get(int(fields[3]), 31)
    ):
        raise ValueError(f"day {fields[2]} of month {fields[3]} never comes: choose another day")
    return value


def _is_sound(entry: str, lowest: int, highest: int, names: dict[str, int]) -> bool:
    parts = _ENTRY.fullmatch(entry)
    if parts is None:
        return False
    given = [names.get(text, text) for text in (parts["first"], parts["last"]) if text is not None]
    numbers = [int(text) for text in given if re.fullmatch(r"[0-9]+", str(text))]
    in_range = all(lowest <= number <= highest for number in numbers)
    step = int(parts["step"] or 1)
    return len(numbers) == len(given) and in_range and numbers == sorted(numbers) and 1 <= step <= highest


Cron = Annotated[str, AfterValidator(checked_cron)]
