"""The search in plain torch, on any device: what runs without faiss, and the reference of the tests."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from curation_assets.algorithms.neighbours.base import FlatSearch, Pairs, joined
from curation_assets.algorithms.search.rounding import float32_accumulation

# Scores of a tile: on the CPU they stay in its cache, on a card launches are few.
_TILE_BYTES, _DEVICE_TILE_BYTES = 8 * 2**20, 64 * 2**20
_FEWEST_ROWS = 64
# The k highest are sought among the maxima of groups of so many columns, which takes one quick pass over the scores.
_GROUP = 64


class TorchSearch(FlatSearch):
    """Writes the scores of a tile of queries, then looks for the high ones.

    Memory beside the pairs: 8 MiB of scores on the CPU, 64 MiB on a card, at least 64 rows of them, and as much again.
    """

    def leading(
        self, queries: torch.Tensor, references: torch.Tensor, k: int, slack: float
    ) -> Iterator[tuple[torch.Tensor, Pairs]]:
        """See `FlatSearch`."""
        for start, scores in _tiles(queries, references):
            floors = _floors(scores, k) - slack
            numbers = torch.arange(start, start + len(scores), device=queries.device)
            yield numbers, _at_least(scores, floors[:, None], start)

    def above(self, queries: torch.Tensor, references: torch.Tensor, floor: float) -> Pairs:
        """See `FlatSearch`."""
        return joined(
            [_at_least(scores, floor, start) for start, scores in _tiles(queries, references)], queries
        )


def _tiles(queries: torch.Tensor, references: torch.Tensor) -> Iterator[tuple[int, torch.Tensor]]:
    """First query and scores float32 (b, m) of each tile."""
    most = _TILE_BYTES if queries.device.type == "cpu" else _DEVICE_TILE_BYTES
    step = max(_FEWEST_ROWS, most // (4 * max(1, len(references))))
    for start in range(0, len(queries), step):
        with float32_accumulation():
            scores = queries[start : start + step] @ references.T
        yield start, scores


def _floors(scores: torch.Tensor, k: int) -> torch.Tensor:
    """At most the k-th highest score of each row, float32 (b,), and seldom much less.

    The k-th highest maximum of a group of columns: k groups reach it, so k scores do.
    """
    n_rows, n_columns = scores.shape
    n_groups = n_columns // _GROUP
    if k == 1:
        return scores.amax(dim=1)
    if n_groups < 2 * k:
        return scores.topk(k, dim=1).values[:, -1]
    # Columns j, j + g, j + 2 g ... form a group: neighbours in the order of the references are often alike.
    groups = scores[:, : n_groups * _GROUP].reshape(n_rows, _GROUP, n_groups)
    return groups.amax(dim=1).topk(k, dim=1).values[:, -1]


def _at_least(scores: torch.Tensor, floors: torch.Tensor | float, start: int) -> Pairs:
    row, column = torch.nonzero(scores >= floors, as_tuple=True)
    return Pairs(row + start, column, scores[row, column])
