"""A pool of several workers in one process that forgets: any worker may be lost before any call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from curation_assets.algorithms.kmeans.inputs import FitInputs
from curation_assets.algorithms.kmeans.row_worker import RowsPart, RowWorker, part_bounds
from curation_assets.algorithms.kmeans.tiles import TiledRows
from curation_assets.algorithms.kmeans.worker_pool import Arguments, Call
from curation_assets.algorithms.rows import Rows
from curation_assets.algorithms.search.choose import Choice
from curation_assets.algorithms.settings import Metric


class ForgetfulPool:
    """Workers that are built anew, and brought back by the calls they are told to repeat, when they are lost.

    Args:
        build: makes the worker of a number.
        n_workers: how many.
        loses: random numbers below this share lose a worker before a call.
        seed: of the random numbers.
    """

    def __init__(self, build: Callable[[int], Any], n_workers: int, loses: float, seed: int) -> None:
        self.n_workers, self.n_lost = n_workers, 0
        self._build, self._loses, self._rng = build, loses, np.random.default_rng(seed)
        self._workers = [build(w) for w in range(n_workers)]
        self._history: Sequence[Call] = ()

    def ask(self, method: str, arguments: Arguments) -> list[Any]:
        for w in range(self.n_workers):
            if self._rng.random() < self._loses:
                self.n_lost += 1
                self._workers[w] = self._build(w)
                for call in self._history:
                    getattr(self._workers[w], call.method)(*call.arguments[w])
        return [getattr(worker, method)(*mine) for worker, mine in zip(self._workers, arguments, strict=True)]

    def change(self, method: str, arguments: Arguments, history: Sequence[Call]) -> list[Any]:
        results = self.ask(method, arguments)
        self._history = list(history)
        return results

    def change_and_merge(
        self,
        method: str,
        arguments: Arguments,
        history: Sequence[Call],
        merge: Callable[[Sequence[Any]], Any],
        merged_bytes: int,
    ) -> tuple[list[Any], list[Any]]:
        results = self.change(method, [(*mine, 3) for mine in arguments], history)
        pieces = zip(*(pieces for _, pieces in results), strict=True)
        return [figures for figures, _ in results], [merge(piece) for piece in pieces]


def shared_out(
    rows: Rows,
    metric: Metric,
    n_workers: int,
    *,
    loses: float = 0.0,
    seed: int = 0,
    choice: Choice | None = None,
) -> tuple[FitInputs, ForgetfulPool]:
    """Inputs held by several workers."""
    bounds = part_bounds(rows.n_rows, n_workers)

    def build(w: int) -> RowWorker:
        part = RowsPart(rows, int(bounds[w]), int(bounds[w + 1]))
        return RowWorker(TiledRows(part, "cpu", choice=choice), int(bounds[w]), metric)

    pool = ForgetfulPool(build, n_workers, loses, seed)
    return FitInputs(pool, bounds, rows.dimension, metric), pool
