"""Formulas for rows and pairs by Triton kernels."""

from __future__ import annotations

import torch

from curation_assets.algorithms.search.cuda import row_launches
from curation_assets.algorithms.search.cuda.sums import add_rows
from curation_assets.algorithms.search.plain.arithmetic import PlainArithmetic


class CudaArithmetic(PlainArithmetic):
    """Kernels for what copies rows or centroids in plain torch; distances have the bytes of the CPU's loops."""

    def pair_scores(
        self,
        block: torch.Tensor,
        rows: torch.Tensor | None,
        centroids: torch.Tensor,
        bias: torch.Tensor,
        clusters: torch.Tensor,
    ) -> torch.Tensor:
        """See `Arithmetic`; summed in float64."""
        return row_launches.pair_scores(block, rows, centroids, bias, clusters)

    def squared_distances(
        self, block: torch.Tensor, rows: torch.Tensor | None, centroids: torch.Tensor, clusters: torch.Tensor
    ) -> torch.Tensor:
        """See `Arithmetic`; in the order of the CPU's loops."""
        return row_launches.pair_squares(block, rows, centroids, clusters)

    def add_rows(
        self,
        block: torch.Tensor,
        rows: torch.Tensor | None,
        clusters: torch.Tensor,
        mass: torch.Tensor,
        sums: torch.Tensor,
    ) -> None:
        """See `Arithmetic`."""
        add_rows(block, rows, clusters, mass, sums)
