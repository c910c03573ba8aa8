"""Parts of rows on threads of their own."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest
import torch

from curation_assets.algorithms import threads as part_threads
from curation_assets.algorithms.threads import (
    even_size,
    in_parts,
    on_threads,
    parts_on_threads,
)

pytestmark = pytest.mark.usefixtures("three_torch_threads")


def test_every_item_is_in_one_part_and_parts_come_in_order() -> None:
    assert in_parts(lambda start, stop: (start, stop), 10, 10**7) == [(0, 3), (3, 6), (6, 10)]
    assert in_parts(lambda start, stop: (start, stop), 2, 10**7) == [(0, 1), (1, 2)]


def test_little_work_is_not_cut() -> None:
    assert in_parts(lambda start, stop: (start, stop), 10, 1) == [(0, 10)]
    assert in_parts(lambda start, stop: (start, stop), 0, 10**9) == [(0, 0)]


def test_torch_has_one_thread_in_a_part_and_all_of_them_afterwards() -> None:
    assert in_parts(lambda start, stop: torch.get_num_threads(), 9, 10**7) == [1, 1, 1]
    assert torch.get_num_threads() == 3
    with parts_on_threads():
        assert torch.get_num_threads() == 1
        with parts_on_threads(work=1):
            assert len(in_parts(lambda start, stop: start, 9, 10**7)) == 3, "the outer block decides"
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 3


def test_little_work_of_a_whole_pass_is_not_shared_out() -> None:
    with parts_on_threads(work=part_threads._SINGLE_THREAD_WORK - 1):
        assert len(in_parts(lambda start, stop: start, 9, 10**7)) == 1
    with parts_on_threads(work=part_threads._SINGLE_THREAD_WORK):
        assert len(in_parts(lambda start, stop: start, 9, 10**7)) == 3


def test_an_error_of_a_part_comes_through() -> None:
    def fail(start: int, stop: int) -> None:
        if start:
            raise ValueError(f"part from {start}")

    with pytest.raises(ValueError, match="part from 3"):
        in_parts(fail, 9, 10**7)
    assert torch.get_num_threads() == 3


def test_items_run_side_by_side_and_their_results_come_in_order() -> None:
    together, taken = threading.Barrier(3), []

    def items() -> Iterator[tuple[int]]:
        for number in range(6):
            taken.append(number)
            yield (number,)

    def square(number: int) -> tuple[int, int, int]:
        together.wait(timeout=10)
        return number**2, torch.get_num_threads(), len(in_parts(lambda start, stop: 0, 9, 10**7))

    assert on_threads(square, items()) == [(n**2, 1, 1) for n in range(6)]
    assert taken == list(range(6))
    assert torch.get_num_threads() == 3


def test_no_more_items_are_taken_than_there_are_threads() -> None:
    under_way = []

    def items() -> Iterator[tuple[int]]:
        for number in range(20):
            assert len(under_way) < 3, "beside the one that is taken"
            under_way.append(number)
            yield (number,)

    assert on_threads(lambda number: under_way.remove(number), items()) == [None] * 20


def test_items_of_another_device_and_of_little_work_and_a_single_one_stay_in_the_thread_that_asks() -> None:
    here = threading.get_ident()
    assert set(on_threads(threading.get_ident, [()] * 4, device="cuda")) == {here}
    with parts_on_threads(work=1):
        assert set(on_threads(threading.get_ident, [()] * 4)) == {here}
    assert here not in on_threads(threading.get_ident, [()] * 4)
    assert in_parts(lambda start, stop: (start, stop), 9, 10**7, "cuda") == [(0, 9)]
    assert on_threads(lambda: len(in_parts(lambda start, stop: 0, 9, 10**7)), [()]) == [3]
    assert on_threads(threading.get_ident, []) == []


def test_an_error_of_an_item_comes_when_the_others_are_done() -> None:
    done = []

    def fail_on_first(number: int) -> None:
        if not number:
            raise ValueError("item 0")
        done.append(number)

    with pytest.raises(ValueError, match="item 0"):
        on_threads(fail_on_first, [(number,) for number in range(3)])
    assert sorted(done) == [1, 2]


def test_pieces_are_even_and_no_smaller_than_pays() -> None:
    assert even_size(10_000, 5461) == 3334
    assert even_size(20_000, 5461) == 3334, "six pieces, two for each thread"
    assert even_size(300, 5461) == 300
    assert even_size(2000, 5461) == 2000, "halves would be too small"
    assert even_size(2100, 5461) == 1050
    assert even_size(900, 5461, fewest=1) == 300
    assert even_size(10_000, 64) == 64
    assert even_size(0, 64) == 1
    assert even_size(20_000, 10**6, device="cuda") == 20_000, "only work on the CPU is shared out"
    torch.set_num_threads(8)
    assert even_size(10**6, 5461) == 2718, "368 pieces of half the size, on twice the threads"
    torch.set_num_threads(40)
    assert even_size(10**6, 5461) == 1024


def test_a_process_that_forked_has_threads_of_its_own() -> None:
    assert len(in_parts(lambda start, stop: start, 9, 10**7)) == 3
    child = os.fork()
    if not child:
        # Whatever happens, this copy of the test run ends here.
        code = 1
        try:
            code = 0 if in_parts(lambda start, stop: start, 9, 10**7) == [0, 3, 6] else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
