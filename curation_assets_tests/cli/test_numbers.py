"""Numbers in options and in print."""

from __future__ import annotations

import click
import pytest

from curation_assets.cli.numbers import Bytes, Count, Counts, duration, size


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("743e6", 743_000_000),
        ("743M", 743_000_000),
        ("1.5k", 1500),
        ("17B", 17 * 10**9),
        ("100_000", 100_000),
        ("7", 7),
    ],
)
def test_counts_are_written_in_many_ways(text: str, value: int) -> None:
    assert Count().convert(text, None, None) == value


@pytest.mark.parametrize("text", ["1.5", "0", "-3", "many", "1e-3", "", "1..2", "743 GB"])
def test_what_is_not_a_count_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match=r"expected a positive integer such as .*, got"):
        Count().convert(text, None, None)


def test_counts_of_levels() -> None:
    assert Counts().convert("10M,500k, 50k", None, None) == (10**7, 500_000, 50_000)
    with pytest.raises(click.BadParameter, match=r"expected a positive integer .*, got 'x'"):
        Counts().convert("10,x", None, None)


def test_sizes() -> None:
    assert Bytes().convert("80 GB", None, None) == 80 * 10**9
    with pytest.raises(click.BadParameter, match="as a size: write a number of bytes"):
        Bytes().convert("lots", None, None)


def test_what_is_printed() -> None:
    assert [size(n) for n in (0, 1.5e5, 2e6, 3.21e9, 4e12, 5e15)] == [
        "", "0.1 MB", "2.0 MB", "3.2 GB", "4.0 TB", "5.0 PB"
    ]  # fmt: skip
    assert [duration(s) for s in (1.25, 119, 120, 7199, 7200)] == [
        "1.2 s", "119.0 s", "2.0 min", "120.0 min", "2.0 h"
    ]  # fmt: skip
