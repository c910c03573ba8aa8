"""Formulas for rows and pairs by Triton kernels."""

from __future__ import annotations

import torch

from curation_assets.algorithms.search.cuda import row_launches
from curation_assets.algorithms.search.cuda.compact import Block, CompactBlock
from curation_assets.algorithms.search.cuda.sums import add_rows
from curation_assets.algorithms.search.plain.arithmetic import PlainArithmetic


class CudaArithmetic(PlainArithmetic):
    """Kernels for what copies rows or centroids in plain torch; distances have the bytes of the CPU's loops."""

    # Each tile waits for the device a few times.
    tile_rows = 2**22

    def pair_scores(
        self,
        block: Block,
        rows: torch.Tensor | None,
        centroids: torch.Tensor,
        bias: torch.Tensor,
        clusters: torch.Tensor,
    ) -> torch.Tensor:
        """See `Arithmetic`; summed in float64."""
        return row_launches.pair_scores(block, rows, centroids, bias, clusters)

    def squared_distances(
        self, block: Block, rows: torch.Tensor | None, centroids: torch.Tensor, clusters: torch.Tensor
    ) -> torch.Tensor:
        """See `Arithmetic`; in the order of the CPU's loops."""
        return row_launches.pair_squares(block, rows, centroids, clusters)

    def squared_lengths(self, block: Block) -> torch.Tensor:
        """See `Arithmetic`; in the order of the CPU's loops."""
        origin = torch.zeros(1, block.shape[1], device=block.device)
        number = torch.zeros(len(block), dtype=torch.int64, device=block.device)
        return row_launches.pair_squares(block, None, origin, number)

    def lengths(self, block: Block) -> torch.Tensor:
        """See `Arithmetic`."""
        if isinstance(block, CompactBlock):
            return self.squared_lengths(block).sqrt_().float()
        return super().lengths(block)

    def add_rows(
        self,
        block: Block,
        rows: torch.Tensor | None,
        clusters: torch.Tensor,
        mass: torch.Tensor,
        sums: torch.Tensor,
    ) -> None:
        """See `Arithmetic`."""
        add_rows(block, rows, clusters, mass, sums)
