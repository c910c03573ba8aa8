"""The same searches through faiss, on the CPU and on CUDA."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import torch

from curation_assets.algorithms.neighbours.base import FlatSearch, Pairs
from curation_assets.algorithms.neighbours.torch_search import TorchSearch

_LOG = logging.getLogger(__name__)
_MORE = 2
"""Answers asked for beyond k: they show that nothing within the slack is left out."""
_MOST_ON_CARD = 2048
"""Answers of a query that faiss gives on a card."""
_CARD_BYTES = 256 * 2**20
"""Of the card, for what faiss works with."""


class FaissSearch(FlatSearch):
    """On the CPU, on as many threads as torch has. Memory beside the pairs: the references once more."""

    def __init__(self, faiss: ModuleType) -> None:
        self._faiss = faiss

    def leading(
        self, queries: torch.Tensor, references: torch.Tensor, k: int, slack: float
    ) -> Iterator[tuple[torch.Tensor, Pairs]]:
        """See `FlatSearch`; queries with many close references are left to torch."""
        asked = min(len(references), k + _MORE)
        scores, columns = self._highest(queries, references, asked)
        return _within_slack(queries, references, scores, columns, k, slack)

    def above(self, queries: torch.Tensor, references: torch.Tensor, floor: float) -> Pairs:
        """See `FlatSearch`."""
        self._faiss.omp_set_num_threads(torch.get_num_threads())
        index = self._faiss.IndexFlatIP(references.shape[1])
        index.add(references.numpy())
        # faiss gives what is greater than its radius.
        radius = float(np.nextafter(np.float32(floor), np.float32(-np.inf)))
        limits, scores, columns = index.range_search(queries.numpy(), radius)
        row = np.repeat(np.arange(len(queries)), np.diff(limits.astype(np.int64)))
        # Of no pairs faiss makes arrays of another type.
        column, score = columns.astype(np.int64, copy=False), scores.astype(np.float32, copy=False)
        return Pairs(torch.from_numpy(row), torch.from_numpy(column), torch.from_numpy(score))

    def _highest(
        self, queries: torch.Tensor, references: torch.Tensor, k: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The k highest scores of each query, falling, and their columns."""
        self._faiss.omp_set_num_threads(torch.get_num_threads())
        metric = self._faiss.METRIC_INNER_PRODUCT
        scores, columns = self._faiss.knn(queries.numpy(), references.numpy(), k, metric=metric)
        return torch.from_numpy(scores), torch.from_numpy(columns)


class FaissCardSearch(TorchSearch):
    """On CUDA. faiss has no search by a threshold there: `above` is torch's."""

    def __init__(self, faiss: ModuleType) -> None:
        self._faiss = faiss
        self._is_broken = False

    def leading(
        self, queries: torch.Tensor, references: torch.Tensor, k: int, slack: float
    ) -> Iterator[tuple[torch.Tensor, Pairs]]:
        """See `FlatSearch`; torch takes over what faiss cannot do."""
        asked = min(len(references), k + _MORE)
        if asked > _MOST_ON_CARD or self._is_broken or not len(queries):
            return super().leading(queries, references, k, slack)
        try:
            scores, columns = highest_on_card(self._faiss, queries, references, asked)
        except RuntimeError as error:
            self._is_broken = True
            _LOG.warning("%s: torch searches from now on, faiss failed: %s", queries.device, _line(error))
            return super().leading(queries, references, k, slack)
        return _within_slack(queries, references, scores, columns, k, slack)


def highest_on_card(
    faiss: ModuleType, queries: torch.Tensor, references: torch.Tensor, k: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The k highest scores of each query, falling, and their columns, by faiss on the card of the tensors."""
    # Lets faiss take tensors, on torch's stream. It multiplies float32 without TF32.
    import faiss.contrib.torch_utils as _  # noqa: F401

    with torch.cuda.device(queries.device):
        metric, device = faiss.METRIC_INNER_PRODUCT, queries.device.index
        found: tuple[torch.Tensor, torch.Tensor] = faiss.knn_gpu(
            _resources(faiss), queries, references, k, metric=metric, device=-1 if device is None else device
        )
    return found


@functools.cache
def _resources(faiss: ModuleType) -> Any:
    resources = faiss.StandardGpuResources()
    # It would take 1.5 GB of the card otherwise.
    resources.setTempMemory(_CARD_BYTES)
    return resources


def _within_slack(
    queries: torch.Tensor,
    references: torch.Tensor,
    scores: torch.Tensor,
    columns: torch.Tensor,
    k: int,
    slack: float,
) -> Iterator[tuple[torch.Tensor, Pairs]]:
    """What `FlatSearch.leading` yields, from the highest scores float32 (n, a) and their columns, a >= k."""
    floors = scores[:, k - 1] - slack
    is_close = scores >= floors[:, None]
    # Where the last answer is within the slack, more may be: among copies, for example.
    is_open = is_close[:, -1] if scores.shape[1] < len(references) else torch.zeros_like(is_close[:, 0])
    row, place = torch.nonzero(is_close & ~is_open[:, None], as_tuple=True)
    yield torch.nonzero(~is_open).flatten(), Pairs(row, columns[row, place], scores[row, place])
    unsure = torch.nonzero(is_open).flatten()
    if len(unsure):
        for numbers, pairs in TorchSearch().leading(queries[unsure], references, k, slack):
            yield unsure[numbers], Pairs(unsure[pairs.row], pairs.column, pairs.score)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
