"""Parts of rows on threads of their own."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch

from curation_assets.algorithms import part_threads
from curation_assets.algorithms.part_threads import in_parts, in_row_parts, parts_on_threads


@pytest.fixture(autouse=True)
def _three_torch_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_every_item_is_in_one_part_and_parts_come_in_order() -> None:
    assert in_parts(lambda start, stop: (start, stop), 10, 10**6) == [(0, 3), (3, 6), (6, 10)]
    assert in_parts(lambda start, stop: (start, stop), 2, 10**6) == [(0, 1), (1, 2)]


def test_little_work_is_not_cut() -> None:
    assert in_parts(lambda start, stop: (start, stop), 10, 1) == [(0, 10)]
    assert in_parts(lambda start, stop: (start, stop), 0, 10**9) == [(0, 0)]


def test_torch_has_one_thread_in_a_part_and_all_of_them_afterwards() -> None:
    assert in_parts(lambda start, stop: torch.get_num_threads(), 9, 10**6) == [1, 1, 1]
    assert torch.get_num_threads() == 3
    with parts_on_threads():
        assert torch.get_num_threads() == 1
        with parts_on_threads(work=1):
            assert len(in_parts(lambda start, stop: start, 9, 10**6)) == 3, "the outer block decides"
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 3


def test_little_work_of_a_whole_pass_is_not_shared_out() -> None:
    with parts_on_threads(work=part_threads._SINGLE_THREAD_WORK - 1):
        assert len(in_parts(lambda start, stop: start, 9, 10**6)) == 1
    with parts_on_threads(work=part_threads._SINGLE_THREAD_WORK):
        assert len(in_parts(lambda start, stop: start, 9, 10**6)) == 3


def test_an_error_of_a_part_comes_through() -> None:
    def fail(start: int, stop: int) -> None:
        if start:
            raise ValueError(f"part from {start}")

    with pytest.raises(ValueError, match="part from 3"):
        in_parts(fail, 9, 10**6)
    assert torch.get_num_threads() == 3


def test_a_process_that_forked_has_threads_of_its_own() -> None:
    assert len(in_parts(lambda start, stop: start, 9, 10**6)) == 3
    child = os.fork()
    if not child:
        # Whatever happens, this copy of the test run ends here.
        code = 1
        try:
            code = 0 if in_parts(lambda start, stop: start, 9, 10**6) == [0, 3, 6] else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_what_belongs_to_rows_is_cut_together() -> None:
    values, squares = torch.arange(9), torch.arange(9) ** 2
    found = in_row_parts(lambda a, b, c: (a.tolist(), b.tolist(), c), (values, squares, None), 10**6)
    assert found[0] == (0, ([0, 1, 2], [0, 1, 4], None))
    assert [start for start, _ in found] == [0, 3, 6]
    whole = in_row_parts(lambda a: len(a), (torch.empty(9, device="meta"),), 10**6)
    assert whole == [(0, 9)], "rows elsewhere are not cut"
