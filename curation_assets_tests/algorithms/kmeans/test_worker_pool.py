"""The pool of one worker in this process."""

from __future__ import annotations

from curation_assets.algorithms.kmeans.worker_pool import InProcessPool


class Adder:
    """Adds up what it is told."""

    def __init__(self) -> None:
        self.total = 0

    def add(self, number: int) -> int:
        self.total += number
        return self.total

    def add_in_pieces(self, number: int, n_pieces: int) -> tuple[int, list[int]]:
        return self.add(number), [number] * n_pieces


def test_calls_go_to_the_worker() -> None:
    pool = InProcessPool(Adder())
    assert pool.n_workers == 1
    assert pool.change("add", [(2,)], []) == [2]
    assert pool.ask("add", [(3,)]) == [5]
    assert pool.change_and_merge("add_in_pieces", [(4,)], [], sum, 8) == ([9], [4])
