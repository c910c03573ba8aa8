"""All implementations of the search for similar rows, and rows that are hard to tell apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

from curation_assets.algorithms.neighbours.base import FlatSearch, Pairs
from curation_assets.algorithms.neighbours.faiss_search import FaissSearch
from curation_assets.algorithms.neighbours.torch_search import TorchSearch
from curation_assets.algorithms.preprocessing import Preprocessing
from curation_assets.algorithms.search.rounding import product_error

PREPARED = Preprocessing("cosine", None, 2.0**-24)


class WrongByTheBound(FlatSearch):
    """Scores that are off by as much as rounding may make them, in both directions, in an order of its own."""

    def leading(
        self, queries: torch.Tensor, references: torch.Tensor, k: int, slack: float
    ) -> Iterator[tuple[torch.Tensor, Pairs]]:
        scores = self._scores(queries, references)
        yield torch.arange(len(queries)), self._pairs(scores, scores.topk(k, dim=1).values[:, -1:] - slack)

    def above(self, queries: torch.Tensor, references: torch.Tensor, floor: float) -> Pairs:
        scores = self._scores(queries, references)
        return self._pairs(scores, torch.full((len(queries), 1), floor))

    def _scores(self, queries: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
        exact = queries.double() @ references.double().T
        sign = torch.where(torch.arange(exact.numel()).reshape(exact.shape) % 2 == 0, 1.0, -1.0)
        return (exact + sign * product_error(queries.shape[1])).float()

    def _pairs(self, scores: torch.Tensor, floors: torch.Tensor) -> Pairs:
        row, column = torch.nonzero((scores >= floors).flip(1), as_tuple=True)
        column = scores.shape[1] - 1 - column
        return Pairs(row, column, scores[row, column])


def faiss_search() -> FlatSearch:
    return FaissSearch(pytest.importorskip("faiss"))


SEARCHES: dict[str, Callable[[], FlatSearch]] = {
    "torch": TorchSearch,
    "faiss": faiss_search,
    "wrong by the bound": WrongByTheBound,
}


def prepared(rows: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(PREPARED.apply(np.asarray(rows, dtype=np.float32)))


def rows_with_ties(seed: int, n_rows: int, dimension: int) -> torch.Tensor:
    """Rows of which a third are copies, a third nearly so, and some have no direction."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n_rows, dimension))
    of = rng.integers(n_rows, size=(2, n_rows // 3))
    rows[of[0]] = rows[of[1]]
    of = rng.integers(n_rows, size=(2, n_rows // 3))
    rows[of[0]] = rows[of[1]] * (1 + 1e-7 * rng.normal(size=(n_rows // 3, dimension)))
    rows[rng.random(n_rows) < 0.05] = 0
    return prepared(rows)
