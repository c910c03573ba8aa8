"""Formulas for rows and pairs in plain torch, on any device."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from curation_assets.algorithms.search.arithmetic import Arithmetic
from curation_assets.algorithms.search.cuda.compact import Block, prepared
from curation_assets.algorithms.search.rounding import float32_accumulation

_PAIR_BYTES = 32 * 2**20


class PlainArithmetic(Arithmetic):
    """Copies the rows and centroids of pairs, two blocks of 32 MiB at a time."""

    def scores(self, block: Block, centroids: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """See `Arithmetic`."""
        with float32_accumulation():
            return torch.addmm(bias, prepared(block), centroids.T)

    def pair_scores(
        self,
        block: Block,
        rows: torch.Tensor | None,
        centroids: torch.Tensor,
        bias: torch.Tensor,
        clusters: torch.Tensor,
    ) -> torch.Tensor:
        """See `Arithmetic`."""
        result = centroids.new_empty(len(clusters))
        for piece, left in _pieces(block, rows, len(clusters), value_bytes=4):
            result[piece] = centroids.index_select(0, clusters[piece]).mul_(left).sum(dim=1)
        return result + bias[clusters]

    def squared_distances(
        self, block: Block, rows: torch.Tensor | None, centroids: torch.Tensor, clusters: torch.Tensor
    ) -> torch.Tensor:
        """See `Arithmetic`."""
        result = centroids.new_empty(len(clusters), dtype=torch.float64)
        for piece, left in _pieces(block, rows, len(clusters), value_bytes=8):
            difference = left.double() - centroids.index_select(0, clusters[piece]).double()
            result[piece] = difference.square_().sum(dim=1)
        return result

    def squared_lengths(self, block: Block) -> torch.Tensor:
        """See `Arithmetic`."""
        return prepared(block).double().square_().sum(dim=1)

    def lengths(self, block: Block) -> torch.Tensor:
        """See `Arithmetic`."""
        return torch.linalg.vector_norm(prepared(block), dim=1)

    def moved_rows(self, before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
        """See `Arithmetic`."""
        return (before != after).any(dim=1)

    def add_rows(
        self,
        block: Block,
        rows: torch.Tensor | None,
        clusters: torch.Tensor,
        mass: torch.Tensor,
        sums: torch.Tensor,
    ) -> None:
        """See `Arithmetic`."""
        wide = prepared(block if rows is None else block.index_select(0, rows)).double()
        sums.index_add_(0, clusters, wide * mass[:, None])


def _pieces(
    block: Block, rows: torch.Tensor | None, n_pairs: int, value_bytes: int
) -> Iterator[tuple[slice, torch.Tensor]]:
    """Ranges of the pairs and the rows they name, a bounded number of bytes at a time."""
    step = max(1, _PAIR_BYTES // (value_bytes * block.shape[1]))
    for start in range(0, n_pairs, step):
        piece = slice(start, start + step)
        yield piece, prepared(block[piece] if rows is None else block.index_select(0, rows[piece]))
