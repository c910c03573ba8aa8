"""Times of any number become texts that say them."""

from __future__ import annotations

import pyarrow as pa
import pytest

from curation_assets.formats.arrow.types import times_as_text


def texts(numbers: list[int | None], kind: pa.DataType) -> list[str | None]:
    width = pa.int32() if kind == pa.date32() else pa.int64()
    batch = pa.record_batch([pa.array(numbers, width).view(kind)], names=["at"])
    return times_as_text(batch)["at"].to_pylist()


@pytest.mark.parametrize("unit", ["s", "ms", "us"])
def test_times_that_arrow_cannot_write_are_told_by_their_number(unit: str) -> None:
    assert texts([2**62, None, -(2**62)], pa.timestamp(unit, "UTC")) == [
        f"{2**62} {unit} since 1970-01-01", None, f"-{2**62} {unit} since 1970-01-01",
    ]  # fmt: skip


def test_dates_beyond_the_calendars_of_arrow_are_told_by_their_number() -> None:
    assert texts([2**31 - 1, 0, 9_000_000], pa.date32()) == [
        "2147483647 days since 1970-01-01", "1970-01-01", "26611-03-02",
    ]  # fmt: skip
    assert texts([2**62, 0], pa.date64()) == [f"{2**62} ms since 1970-01-01", "1970-01-01"]


def test_nanoseconds_reach_as_far_as_their_numbers() -> None:
    assert texts([2**62, 1], pa.timestamp("ns")) == [
        "2116-02-20 23:53:38.427387904", "1970-01-01 00:00:00.000000001",
    ]  # fmt: skip
