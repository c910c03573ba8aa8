"""Cron expressions: what is accepted, Dagster accepts too."""

from __future__ import annotations

import pytest
from dagster._utils.schedules import is_valid_cron_schedule
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.pools.cron import checked_cron


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ("61 25 * * *", "the minute '61'"),
        ("0 25 * * *", "the hour '25'"),
        ("0 0 0 * *", "the day '0'"),
        ("0 0 * 13 *", "the month '13'"),
        ("0 0 * * 8", "the weekday '8'"),
        ("0 0 * * mun", "a name such as sun"),
        ("*/0 * * * *", "the minute '*/0'"),
        ("0 0 * * fri-mon", "the weekday 'fri-mon'"),
        ("1,,2 0 * * *", "the minute ''"),
        ("0 0 31 2 *", "day 31 of month 2 never comes"),
        ("@daily", "five fields"),
        ("0 0 * * * *", "five fields"),
    ],
)
def test_a_senseless_field_is_named(value: str, part: str) -> None:
    with pytest.raises(ValueError, match=part.replace("*", r"\*")):
        checked_cron(value)


def entries(lowest: int, highest: int, names: str = "") -> st.SearchStrategy[str]:
    numbers = st.integers(lowest - 1, highest + 1).map(str)
    single = st.one_of(numbers, st.sampled_from(names.split())) if names else numbers
    whole = st.one_of(st.just("*"), st.tuples(single, single).map("-".join))
    stepped = st.tuples(st.one_of(single, whole), st.integers(0, highest + 2).map(str)).map("/".join)
    return st.lists(st.one_of(single, whole, stepped), min_size=1, max_size=3).map(",".join)


@given(
    st.tuples(
        entries(0, 59),
        entries(0, 23),
        entries(1, 31),
        entries(1, 12, "jan Feb dec"),
        entries(0, 7, "sun Mon sat"),
    ).map(" ".join)
)
def test_what_is_accepted_dagster_accepts(value: str) -> None:
    try:
        checked_cron(value)
    except ValueError:
        return
    assert is_valid_cron_schedule(value)


@pytest.mark.parametrize(
    "value", ["0 3 * * 0", "*/15 * * * *", "0 0-23/2 1,15 jan-mar mon-fri", "30 4 * * SUN", "0 2 29 2 *"]
)
def test_usual_expressions_are_accepted(value: str) -> None:
    assert checked_cron(value) == value
    assert is_valid_cron_schedule(value)
