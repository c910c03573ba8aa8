"""How a subset lies in a sample of its pool: who is nearest, and how far the tenth neighbour is."""

from __future__ import annotations

import numpy as np
import torch

from curation_assets.algorithms.rows import as_tensor
from curation_assets.algorithms.search.pairs import reported_distance, squared_distances
from curation_assets.algorithms.settings import Metric

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
    n, m, rank = len(sample), len(rows), min(rank, len(sample))
    n_candidates = min(rank + _SPARE, n)
    # x.y - |x|^2 / 2 - |y|^2 / 2 = -|x - y|^2 / 2: one of the two lengths is the same for all that are compared.
    half_sample, half_rows = (t.square().sum(dim=1) / 2 for t in (sample, rows))
    best = torch.full((n,), -torch.inf, device=sample.device)
    nearest = torch.zeros(n, dtype=torch.int64, device=sample.device)
    at_rank = np.empty(m, dtype=np.float32)
    step = max(1, block_bytes // (4 * n))
    for start in range(0, m, step):
        block = rows[start : start + step]
        scores = block @ sample.T
        scores -= half_rows[start : start + step, None]
        found, row = scores.max(dim=0)
        wins = found > best
        best[wins], nearest[wins] = found[wins], row[wins] + start
        scores -= half_sample
        candidates = scores.topk(n_candidates, dim=1, sorted=False).indices.flatten()
        mine = torch.arange(len(block), device=sample.device).repeat_interleave(n_candidates)
        exact = squared_distances(block, mine, sample, candidates).reshape(len(block), n_candidates)
        at_rank[start : start + step] = reported_distance(exact.sort(dim=1).values[:, rank - 1], metric).cpu()
    to_nearest = reported_distance(squared_distances(sample, None, rows, nearest), metric)
    return to_nearest.cpu().numpy(), at_rank
