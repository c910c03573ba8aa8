"""The formulas of `Arithmetic` on whatever device the tensors are."""

from __future__ import annotations

import torch

from curation_assets.algorithms.search.arithmetic import Arithmetic
from curation_assets.algorithms.search.cpu.arithmetic import CpuArithmetic
from curation_assets.algorithms.search.cuda.arithmetic import CudaArithmetic
from curation_assets.algorithms.search.cuda.compact import Block
from curation_assets.algorithms.search.kind import Kind, kind_of
from curation_assets.algorithms.search.plain.arithmetic import PlainArithmetic
from curation_assets.algorithms.settings import Metric

_ARITHMETIC: dict[Kind, Arithmetic] = {
    Kind.CPU: CpuArithmetic(),
    Kind.CUDA: CudaArithmetic(),
    Kind.PLAIN: PlainArithmetic(),
}


def arithmetic_of(device: torch.device) -> Arithmetic:
    """The implementation for a device."""
    return _ARITHMETIC[kind_of(device)]


def pair_scores(
    block: Block,
    rows: torch.Tensor | None,
    centroids: torch.Tensor,
    bias: torch.Tensor,
    clusters: torch.Tensor,
) -> torch.Tensor:
    """Scores of (row, centroid) pairs, float32 (p,); see `Arithmetic.pair_scores`."""
    return arithmetic_of(block.device).pair_scores(block, rows, centroids, bias, clusters)


def squared_distances(
    block: Block, rows: torch.Tensor | None, centroids: torch.Tensor, clusters: torch.Tensor
) -> torch.Tensor:
    """Squared distances of (row, centroid) pairs, float64 (p,); see `Arithmetic.squared_distances`."""
    return arithmetic_of(block.device).squared_distances(block, rows, centroids, clusters)


def squared_lengths(block: Block) -> torch.Tensor:
    """Squared lengths of rows, float64 (b,); see `Arithmetic.squared_lengths`."""
    return arithmetic_of(block.device).squared_lengths(block)


def lengths(block: Block) -> torch.Tensor:
    """Lengths of rows, float32 (b,); see `Arithmetic.lengths`."""
    return arithmetic_of(block.device).lengths(block)


def tile_rows(device: torch.device) -> int:
    """Rows to work on together on a device, where nothing else limits them."""
    return arithmetic_of(device).tile_rows


def moved_centroids(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """Which centroids, float32 (k, d), differ from what they were, bool (k,)."""
    return arithmetic_of(after.device).moved_rows(before, after)


def add_rows(
    block: Block,
    rows: torch.Tensor | None,
    clusters: torch.Tensor,
    mass: torch.Tensor,
    sums: torch.Tensor,
) -> None:
    """Add rows to the sums of their clusters, float64 (k, d); see `Arithmetic.add_rows`."""
    arithmetic_of(block.device).add_rows(block, rows, clusters, mass, sums)


def reported_distance(squared: torch.Tensor, metric: Metric) -> torch.Tensor:
    """Distances as the metric reports them: 1 - cos = |x - c|^2 / 2 for cosine, |x - c| for l2, float32."""
    return (squared / 2 if metric == "cosine" else squared.sqrt()).float()
