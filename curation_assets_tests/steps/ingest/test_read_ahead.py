"""Reading ahead: the order of the items, how many there are at a time, and every way it may end."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.errors import ShardError
from curation_assets.steps.ingest.read_ahead import ReadAhead, map_in_order


def background_threads() -> set[str]:
    return {t.name for t in threading.enumerate() if t.name.startswith(("read-ahead", "decode"))}


class Source:
    """Counts up, and keeps what happened to it."""

    def __init__(self, n: int, error: Exception | None = None) -> None:
        self.n, self.error = n, error
        self.n_made = 0
        self.threads: set[str] = set()
        self.closed_in = ""

    def items(self) -> Generator[int, None, None]:
        try:
            for i in range(self.n):
                self.n_made += 1
                self.threads.add(threading.current_thread().name)
                yield i
            if self.error:
                raise self.error
        finally:
            self.closed_in = threading.current_thread().name


@pytest.mark.parametrize("in_background", [True, False])
@pytest.mark.parametrize("n", [0, 1, 2, 7])
def test_items_come_in_order_and_the_thread_is_over(n: int, in_background: bool) -> None:
    source = Source(n)
    with ReadAhead(source.items(), in_background=in_background) as ahead:
        assert list(ahead) == list(range(n))
    expected = "read-ahead" if in_background else "MainThread"
    assert source.threads <= {expected}
    assert source.closed_in == expected
    assert ahead.times.n_items == n
    assert not background_threads()


def test_one_item_ahead_and_no_more() -> None:
    source = Source(6)
    with ReadAhead(source.items()) as ahead:
        for position, _ in enumerate(ahead):
            deadline = time.monotonic() + 5
            while source.n_made < min(position + 2, 6) and time.monotonic() < deadline:
                time.sleep(0.001)
            time.sleep(0.01)
            assert source.n_made == min(position + 2, 6)


@pytest.mark.parametrize("in_background", [True, False])
def test_an_error_of_the_items_comes_at_its_place(in_background: bool) -> None:
    seen = []
    source = Source(3, ShardError("b.tar: storage failed"))

    def work() -> None:
        with ReadAhead(source.items(), in_background=in_background) as ahead:
            for item in ahead:
                seen.append(item)  # noqa: PERF402 - what was seen before the error counts

    with pytest.raises(ShardError, match=r"b\.tar: storage failed") as caught:
        work()
    assert seen == [0, 1, 2]
    assert any(entry.name == "items" for entry in caught.traceback), "the traceback leads to the source"
    assert not background_threads()


@pytest.mark.parametrize("in_background", [True, False])
def test_an_error_of_the_worker_closes_the_items(in_background: bool) -> None:
    source = Source(1000)

    def work() -> None:
        with ReadAhead(source.items(), in_background=in_background) as ahead:
            for item in ahead:
                if item == 2:
                    raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert source.n_made <= 4
    assert source.closed_in
    assert not background_threads()


def test_a_block_that_takes_nothing_ends_too() -> None:
    source = Source(1000)
    with ReadAhead(source.items()):
        pass
    assert source.n_made <= 2
    assert not background_threads()


def slow(seconds: float, n: int) -> Generator[int, None, None]:
    for i in range(n):
        time.sleep(seconds)
        yield i


def test_times_say_who_waited() -> None:
    with ReadAhead(slow(0.03, 5)) as ahead:
        for _ in ahead:
            pass
    assert ahead.times.first_wait > 0.02
    assert ahead.times.later_wait > ahead.times.lay_ready
    with ReadAhead(slow(0.0, 5)) as ahead:
        for _ in ahead:
            time.sleep(0.03)
    assert ahead.times.lay_ready > ahead.times.later_wait
    with ReadAhead(slow(0.01, 5), in_background=False) as ahead:
        assert list(ahead) == list(range(5))
    assert ahead.times.first_wait + ahead.times.later_wait >= ahead.times.making > 0
    assert ahead.times.lay_ready == 0


@given(st.lists(st.integers(), max_size=40), st.integers(0, 5))
def test_results_are_in_the_order_of_their_arguments(items: list[int], n_threads: int) -> None:
    def square(i: int) -> int:
        if i % 3 == 0:
            time.sleep(0.0001)
        return i * i

    assert list(map_in_order(square, items, n_threads)) == [i * i for i in items]


def test_threads_share_the_calls_and_draw_few_arguments_ahead() -> None:
    drawn = 0
    both = threading.Barrier(2)

    def arguments() -> Iterator[int]:
        nonlocal drawn
        for i in range(100):
            drawn += 1
            yield i

    def meet(i: int) -> int:
        both.wait(timeout=10)  # passes only if two calls run at a time
        return i

    results = map_in_order(meet, arguments(), 2)
    assert [next(results) for _ in range(10)] == list(range(10))
    assert drawn <= 10 + 2 * 2
    both.abort()
    results.close()
    assert not background_threads()


@pytest.mark.parametrize("n_threads", [1, 3])
def test_an_error_of_a_call_comes_in_place_of_its_result(n_threads: int) -> None:
    def invert(i: int) -> float:
        return 1 / (i - 4)

    results = map_in_order(invert, range(100), n_threads)
    assert [next(results) for _ in range(4)] == [-1 / 4, -1 / 3, -1 / 2, -1]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert not background_threads()
