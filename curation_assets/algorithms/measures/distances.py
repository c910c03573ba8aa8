"""How a subset lies in a sample of its pool: who is nearest, and how far the tenth neighbour is."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch

from curation_assets.algorithms.rows import as_tensor
from curation_assets.algorithms.search.pairs import reported_distance, squared_distances
from curation_assets.algorithms.settings import Metric
from curation_assets.algorithms.threads import in_parts, parts_on_threads

_BLOCK_BYTES = 64 * 2**20
# Float32 products are off by some 1e-7: among two more candidates the neighbour of a rank is found in float64.
_SPARE = 2


def subset_distances(
    sample: torch.Tensor,
    subset: np.ndarray,
    *,
    metric: Metric,
    rank: int,
    block_bytes: int = _BLOCK_BYTES,
) -> tuple[np.ndarray, np.ndarray]:
    """Distances between a sample and a subset, in both directions, from one matrix product a block.

    Args:
        sample: float32 (n, d) on any device, prepared.
        subset: float32 (m, d), prepared likewise, m >= 1.
        metric: cosine reports 1 - cos, l2 Euclidean distance.
        rank: which neighbour in the sample to report, from 1; the last where the sample has fewer rows.
        block_bytes: memory of a block of products.

    Returns:
        Distance of each row of the sample to the nearest row of the subset, float32 (n,), and of each row of the
        subset to its neighbour of that rank in the sample, float32 (m,); a row that is itself in the sample is its own
        first neighbour. Distances are those of float64 differences.
    """
    rows = as_tensor(subset, str(sample.device))
    rank = min(rank, len(sample))

    def search(start: int, stop: int) -> list[_Found]:
        step = max(1, block_bytes // (4 * len(sample)))
        edges = range(start, stop, step)
        return [_search(sample, rows, first, min(first + step, stop), rank) for first in edges]

    with parts_on_threads():
        blocks = in_parts(search, len(rows), sample.numel(), sample.device.type)
        found = list(chain.from_iterable(blocks))
        # The highest score of a sample row in any block, and the subset's row that has it.
        winner = torch.stack([block.best for block in found]).argmax(dim=0, keepdim=True)
        nearest = torch.stack([block.nearest for block in found]).gather(0, winner)[0]
        to_nearest = squared_distances(sample, None, rows, nearest)
    to_rank = torch.cat([block.at_rank for block in found])
    return _reported(to_nearest, metric), _reported(to_rank, metric)


def _reported(squared: torch.Tensor, metric: Metric) -> np.ndarray:
    return reported_distance(squared, metric).cpu().numpy()


@dataclass(frozen=True, slots=True)
class _Found:
    """What one block of the subset gives."""

    best: torch.Tensor
    """float32 (n,): highest score of each row of the sample."""
    nearest: torch.Tensor
    """int64 (n,): the row of the subset that has it."""
    at_rank: torch.Tensor
    """float64 (b,): squared distance of each row of the block to its neighbour in the sample."""


def _search(sample: torch.Tensor, rows: torch.Tensor, start: int, stop: int, rank: int) -> _Found:
    block = rows[start:stop]
    # x.y - |x|^2 / 2 - |y|^2 / 2 = -|x - y|^2 / 2: one of the two lengths is the same for all that are compared.
    scores = torch.addmm(_half_squares(block)[:, None], block, sample.T, beta=-1)
    best, row = scores.max(dim=0)
    scores -= _half_squares(sample)
    n_candidates = min(rank + _SPARE, len(sample))
    candidates = scores.topk(n_candidates, dim=1, sorted=False).indices.flatten()
    mine = torch.arange(len(block), device=sample.device).repeat_interleave(n_candidates)
    exact = squared_distances(block, mine, sample, candidates).reshape(len(block), n_candidates)
    return _Found(best, row + start, exact.sort(dim=1).values[:, rank - 1])


def _half_squares(rows: torch.Tensor) -> torch.Tensor:
    return torch.linalg.vector_norm(rows, dim=1).square_() / 2
