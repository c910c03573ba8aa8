"""Formulas for rows and pairs by compiled loops, shared out among threads.

Sums in float32 are in no particular order; `rounding.product_error` bounds the error of any.
"""

from __future__ import annotations

import torch

from curation_assets.algorithms.compiled import add_rows, find_moved, score_pairs, square_pairs
from curation_assets.algorithms.search.arithmetic import Arithmetic
from curation_assets.algorithms.search.cuda.compact import Block, prepared
from curation_assets.algorithms.threads import VALUE_WORK, in_parts


class CpuArithmetic(Arithmetic):
    """Copies nothing."""

    def scores(self, block: Block, centroids: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """See `Arithmetic`."""
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
        rows = torch.arange(len(clusters)) if rows is None else rows
        result = torch.empty(len(rows), dtype=torch.float32)
        arrays = [tensor.numpy() for tensor in (prepared(block), rows, centroids, bias, clusters, result)]
        work = VALUE_WORK * block.shape[1]
        in_parts(lambda start, stop: score_pairs(start, stop, *arrays), len(rows), work)
        return result

    def squared_distances(
        self, block: Block, rows: torch.Tensor | None, centroids: torch.Tensor, clusters: torch.Tensor
    ) -> torch.Tensor:
        """See `Arithmetic`."""
        rows = torch.arange(len(clusters)) if rows is None else rows
        result = torch.empty(len(rows), dtype=torch.float64)
        arrays = [tensor.numpy() for tensor in (prepared(block), rows, centroids, clusters, result)]
        work = VALUE_WORK * block.shape[1]
        in_parts(lambda start, stop: square_pairs(start, stop, *arrays), len(rows), work)
        return result

    def squared_lengths(self, block: Block) -> torch.Tensor:
        """See `Arithmetic`."""
        # The distance to the origin: the same fixed order of the sum as for distances.
        origin, number = torch.zeros(1, block.shape[1]), torch.zeros(len(block), dtype=torch.int64)
        return self.squared_distances(block, None, origin, number)

    def lengths(self, block: Block) -> torch.Tensor:
        """See `Arithmetic`."""
        return torch.linalg.vector_norm(prepared(block), dim=1)

    def moved_rows(self, before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
        """See `Arithmetic`."""
        is_moved = torch.empty(len(before), dtype=torch.bool)
        arrays = [tensor.numpy() for tensor in (before, after, is_moved)]
        work = VALUE_WORK * before.shape[1]
        in_parts(lambda start, stop: find_moved(start, stop, *arrays), len(before), work)
        return is_moved

    def add_rows(
        self,
        block: Block,
        rows: torch.Tensor | None,
        clusters: torch.Tensor,
        mass: torch.Tensor,
        sums: torch.Tensor,
    ) -> None:
        """See `Arithmetic`."""
        rows = torch.arange(len(block)) if rows is None else rows
        arrays = [tensor.numpy() for tensor in (prepared(block), rows, clusters, mass, sums)]
        # Each thread has some of the columns: two rows of one cluster do not meet.
        in_parts(lambda start, stop: add_rows(start, stop, *arrays), block.shape[1], VALUE_WORK * len(rows))
