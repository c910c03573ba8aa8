"""Sums of rows by cluster on CUDA devices, in float64.

Rows are multiples of a grid step, so these sums are exact: additions may come in any order, and the result has the
CPU's bytes.
"""

from __future__ import annotations

import torch

from curation_assets.algorithms.search.cuda import row_launches
from curation_assets.algorithms.search.cuda.compact import Block


def add_rows(
    block: Block,
    rows: torch.Tensor | None,
    clusters: torch.Tensor,
    mass: torch.Tensor | None,
    sums: torch.Tensor,
) -> None:
    """Add rows, each times its mass, to the sums of their clusters.

    Args:
        block: b rows, float32, float16 or compact.
        rows: int64 (p,) rows of the block; None takes all of them.
        clusters: int64 (p,).
        mass: float64 (p,); None counts each row once.
        sums: float64 (k, d), contiguous; added to.
    """
    # Rows of a cluster that follow each other are added in registers, and to memory once.
    ascending, order = torch.sort(clusters)
    numbers = order if rows is None else rows[order]
    row_launches.sum_runs(block, numbers, ascending, None if mass is None else mass[order], sums)
