"""Progress: a line every few seconds, with a time left that is honest."""

from __future__ import annotations

import time

import pytest

from curation_assets import progress
from curation_assets.progress import Pace, in_words


def test_time_left_follows_the_pace() -> None:
    pace = Pace(10, began=0.0)
    assert pace.line("embed", 5.0) == "embed: 0% (0 of 10); 5 s so far, time left not known yet"
    pace.update(0, "", 0.0)
    pace.update(2, "shard b", 20.0)
    assert pace.seconds_left(20.0) == pytest.approx(80.0)
    assert pace.seconds_left(25.0) == pytest.approx(75.0), "time passes between updates"
    assert pace.line("embed", 20.0) == "embed: 20% (2 of 10), shard b; 20 s so far, about 1 min 20 s left"


def test_what_was_done_before_does_not_count() -> None:
    pace = Pace(100, began=0.0)
    pace.update(90, "90 up to date", 0.1)
    assert pace.seconds_left(1.0) is None
    pace.update(91, "", 10.1)
    assert pace.seconds_left(10.1) == pytest.approx(90.0)


def test_the_pace_is_that_of_the_later_half() -> None:
    pace = Pace(300, began=0.0)
    for second in range(0, 201, 10):
        pace.update(second, "", float(second))
    for second in range(210, 401, 10):
        pace.update(200 + (second - 200) / 10, "", float(second))
    assert pace.seconds_left(400.0) == pytest.approx(800.0)


def test_a_rest_that_takes_longer_than_expected_is_not_known() -> None:
    pace = Pace(4, began=0.0)
    pace.update(0, "", 0.0)
    pace.update(3, "", 30.0)
    assert pace.seconds_left(35.0) == pytest.approx(5.0)
    assert pace.seconds_left(41.0) is None
    pace.update(4, "", 50.0)
    assert pace.seconds_left(50.0) == 0


def test_many_updates_take_little_room() -> None:
    pace = Pace(10**6, began=0.0)
    for number in range(20_000):
        pace.update(number, "", number / 100)
    assert pace.done == 19_999
    assert pace.seconds_left(200.0) == pytest.approx((10**6 - 19_999) / 100, rel=0.01)
    assert len(pace._seen) <= 1000


def test_durations_have_two_units_at_most() -> None:
    assert [in_words(s) for s in (0.4, 59.4, 60, 3599, 3600, 90_061)] == [
        "0 s", "59 s", "1 min 0 s", "59 min 59 s", "1 h 0 min", "25 h 1 min",
    ]  # fmt: skip


class Sink:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def begin(self, task: str, total: int) -> None:
        self.told.append(f"begin {task} {total}")

    def update(self, task: str, done: float, detail: str) -> None:
        self.told.append(f"{task} {done} {detail}")

    def line(self, text: str) -> None:
        self.told.append(text)

    def end(self, task: str) -> None:
        self.told.append(f"end {task}")


def test_a_line_comes_even_while_one_unit_takes_long_and_none_after_the_end() -> None:
    lines: list[str] = []
    sink = Sink()
    with progress.shown_in(sink), progress.task("atlas", 1, lines.append, every=0.02) as report:
        report(0.1, "projecting")
        deadline = time.monotonic() + 10
        while len(lines) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
    n_lines = len(lines)
    assert n_lines >= 3
    assert all(line.startswith("atlas: 10%, projecting; ") for line in lines)
    assert sink.told[:2] == ["begin atlas 1", "atlas 0.1 projecting"]
    assert sink.told[2:-1] == lines, "the terminal gets the same lines as the log"
    assert sink.told[-1] == "end atlas"
    time.sleep(0.05)
    assert len(lines) == n_lines


def test_a_short_task_logs_nothing() -> None:
    lines: list[str] = []
    with progress.task("tree", 1, lines.append) as report:
        report(1.0, "done")
    assert not lines
