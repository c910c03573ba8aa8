"""Ids of samples in the formats with one row per sample."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any

from curation_assets.errors import ShardError
from curation_assets.formats.base import RejectedSampleError, RejectionReason

MOST_EXACT = 2**53
"""Below it, whole numbers are exact as Python's floats."""
_LARGEST_COUNT = 2**63 - 1
# Only known endings are dropped from an id, so that `a.v1.jsonl` and `a.v2.jsonl` give different ids.
ROW_FILE_SUFFIXES = (".gz", ".zst", ".zstd", ".jsonl", ".ndjson", ".json", ".parquet")


def numbered_id(file: str, row: int) -> str:
    """Id of a row without an id of its own: `folder/00000.jsonl.gz` and 17 give `folder/00000:17`."""
    stem = file
    while stem.endswith(ROW_FILE_SUFFIXES):
        stem = stem[: stem.rindex(".")]
    return f"{stem or file}:{row}"


def id_text(value: Any) -> str | None:
    """A column's value as an id; None if it is null, NaN or empty."""
    if value is None or value != value or value == "":
        return None
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def whole_number(value: float, most: int = MOST_EXACT) -> str:
    """A float that stands for a whole number, as pandas makes of whole numbers with gaps: 1000001.0 gives `1000001`.

    Args:
        value: finite or not.
        most: beyond it, floats of its type are rounded.

    Raises:
        ValueError: if it is none, or too large to be exact.
    """
    if not value.is_integer() or abs(value) >= most:
        raise ValueError(
            f"{value!r} is no exact whole number (such floats are exact below {most:,}): write ids as text or int64"
        )
    return str(int(value))


def inexact_id(file: str, field: str, kind: str, row: int, error: ValueError) -> ShardError:
    """The error of `whole_number`, with its place."""
    return ShardError(
        f"{file}: source.id_field is '{field}', a column of type {kind}, not of texts or whole numbers: in row {row} "
        f"{error}"
    )


class RowIds:
    """Gives the rows of one file their ids; keeps the ids in memory if they come from a field.

    Args:
        file: `SourceFile.path`.
        field: field or column of unique ids; None numbers the rows.
        unit: what a row is called in messages.
        floats: if the ids are a column of floats, its type and the number below which it is exact; then an id that
            is not exact is an error of the file.
    """

    def __init__(
        self, file: str, field: str | None, unit: str, floats: tuple[str, int] | None = None
    ) -> None:
        self._file, self._field, self._unit = file, field, unit
        self._floats = floats
        self._first_rows: dict[str, int] = {}

    def fallback(self, row: int) -> str:
        """Id of a row by its number."""
        return numbered_id(self._file, row)

    def take(self, row: int, values: Mapping[str, Any]) -> str:
        """The id of a row.

        Raises:
            RejectedSampleError: MISSING_FIELD if the row has none, or one that is neither text nor a whole number;
                INVALID_ID for a float that is no exact whole number.
            ShardError: for such a float in a column of floats: its other ids may be rounded too.
        """
        if self._field is None:
            return self.fallback(row)
        value = values.get(self._field)
        if isinstance(value, float) and value == value:
            return self._whole(row, value)
        if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
            found = "is missing" if self._field not in values else f"is {shown_value(value)}"
            detail = f"the id field '{self._field}' {found}, expected a text or a whole number"
            raise RejectedSampleError(RejectionReason.MISSING_FIELD, detail)
        return str(value)

    def _whole(self, row: int, value: float) -> str:
        kind, most = self._floats or ("", MOST_EXACT)
        try:
            return whole_number(value, most)
        except ValueError as error:
            if kind:
                raise inexact_id(self._file, str(self._field), kind, row, error) from error
            detail = f"the id field '{self._field}' is {value!r}, expected a text or a whole number; {error}"
            raise RejectedSampleError(RejectionReason.INVALID_ID, detail) from error

    def refuse_duplicate(self, sample_id: str, row: int) -> None:
        """Remember an id.

        Raises:
            RejectedSampleError: DUPLICATE_ID if an earlier row has it.
        """
        if self._field is None:
            return
        first = self._first_rows.setdefault(sample_id, row)
        if first != row:
            detail = f"the id '{sample_id}' was met before in this file, first in {self._unit} {first}"
            raise RejectedSampleError(RejectionReason.DUPLICATE_ID, detail)


def is_token_count(value: Any) -> bool:
    """Whether a value is a whole number of tokens, 0 or more; a column with gaps is read as floats, so 12.0 is 12."""
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    return bool(is_number and value == value // 1 and 0 <= value <= _LARGEST_COUNT)


def shown_value(value: Any) -> str:
    """A value in messages, shortened."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."
