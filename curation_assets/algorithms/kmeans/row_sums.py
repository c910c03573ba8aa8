"""Sums of rows by cluster, in float64."""

from __future__ import annotations

import torch

from curation_assets.algorithms.compiled import add_rows as add_rows_compiled
from curation_assets.algorithms.search.cuda import sums as cuda_sums
from curation_assets.algorithms.search.cuda.presence import runs_kernels
from curation_assets.algorithms.threads import VALUE_WORK, in_parts


def add_rows(
    block: torch.Tensor,
    rows: torch.Tensor | None,
    clusters: torch.Tensor,
    mass: torch.Tensor,
    sums: torch.Tensor,
) -> None:
    """Add rows, each times its mass, to the sums of their clusters.

    Args:
        block: float32 (b, d).
        rows: int64 (p,) rows of the block; None takes all of them.
        clusters: int64 (p,).
        mass: float64 (p,).
        sums: float64 (k, d), added to.
    """
    if runs_kernels(block.device):
        cuda_sums.add_rows(block, rows, clusters, mass, sums)
        return
    if block.device.type != "cpu":
        wide = (block if rows is None else block.index_select(0, rows)).double()
        sums.index_add_(0, clusters, wide * mass[:, None])
        return
    rows = torch.arange(len(block)) if rows is None else rows
    arrays = [tensor.numpy() for tensor in (block, rows, clusters, mass, sums)]
    # Each thread has some of the columns: two rows of one cluster do not meet.
    in_parts(
        lambda start, stop: add_rows_compiled(start, stop, *arrays), block.shape[1], VALUE_WORK * len(rows)
    )
