"""How a subset lies in a sample of its pool: who is nearest, and how far the tenth neighbour is."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch

from curation_assets.algorithms.rows import as_tensor
from curation_assets.algorithms.search.assigner import assign
from curation_assets.algorithms.search.pairs import reported_distance, squared_distances
from curation_assets.algorithms.settings import Metric
from curation_assets.algorithms.threads import in_parts, parts_on_threads

N_LISTED = 64
"""Neighbours that are kept of each row of a sample: in a random tenth of it, all but one row in 800 have one."""
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
    """Distances between a sample and any subset, in both directions, from one matrix product a block.

    Args:
        sample: float32 (n, d) on any device, prepared.
        subset: float32 (m, d), prepared likewise, m >= 1.
        metric: cosine reports 1 - cos, l2 Euclidean distance.
        rank: which neighbour in the sample to report, from 1; the last where the sample has fewer rows.
        block_bytes: memory of a block of products, of which each thread has one.

    Returns:
        Distance of each row of the sample to the nearest row of the subset, float32 (n,), and of each row of the
        subset to its neighbour of that rank in the sample, float32 (m,); a row that is itself in the sample is its own
        first neighbour. Distances are those of float64 differences.
    """
    rows = as_tensor(subset, str(sample.device))
    rank = min(rank, len(sample))

    def search(start: int, stop: int) -> list[_Found]:
        edges = range(start, stop, _step(sample, block_bytes))
        return [_search(sample, rows[first:stop][: edges.step], first, rank) for first in edges]

    with parts_on_threads():
        blocks = in_parts(search, len(rows), sample.numel(), sample.device.type)
        found = list(chain.from_iterable(blocks))
        # The highest score of a sample row in any block, and the subset's row that has it.
        winner = torch.stack([block.best for block in found]).argmax(dim=0, keepdim=True)
        nearest = torch.stack([block.nearest for block in found]).gather(0, winner)[0]
        to_nearest = squared_distances(sample, None, rows, nearest)
    to_rank = torch.cat([block.at_rank for block in found])
    return _reported(to_nearest, metric), _reported(to_rank, metric)


@dataclass(frozen=True, slots=True)
class SampleNeighbours:
    """Neighbours of each row of a sample within it: `subset_distances` of its own subsets, without products.

    One product of the sample with itself serves any number of them.
    """

    rows: np.ndarray
    """float32 (n, d): the sample."""
    metric: Metric
    columns: np.ndarray
    """int32 (n, min(n, 64)): nearest first. A row is its own first neighbour, or that of its copy."""
    distances: np.ndarray
    """float32, of the same shape."""

    @classmethod
    def of(
        cls, rows: np.ndarray, *, metric: Metric, device: str = "cpu", n_listed: int = N_LISTED
    ) -> SampleNeighbours:
        """Find the neighbours in a sample; arguments as for `subset_distances`.

        Memory: 8 n_listed bytes a row, and a block for each thread.
        """
        sample = as_tensor(rows, device)
        shape = (len(rows), min(n_listed, len(rows)))
        columns, distances = np.empty(shape, dtype=np.int32), np.empty(shape, dtype=np.float32)

        def search(start: int, stop: int) -> None:
            step = _step(sample, _BLOCK_BYTES)
            for first in range(start, stop, step):
                piece = slice(first, min(first + step, stop))
                scores = sample[piece] @ sample.T
                squared, found = _closest(sample, sample[piece], scores, shape[1])
                columns[piece], distances[piece] = found.cpu().numpy(), _reported(squared, metric)

        with parts_on_threads():
            in_parts(search, len(rows), sample.numel(), device)
        return cls(rows, metric, columns, distances)

    def subset_distances(self, chosen: np.ndarray, *, rank: int) -> tuple[np.ndarray, np.ndarray]:
        """As the function of that name, for rows of the sample, int64 (m,), m >= 1; `rank` is at most 64."""
        is_chosen = np.zeros(len(self.rows), dtype=bool)
        is_chosen[chosen] = True
        hits = is_chosen[self.columns]
        first = hits.argmax(axis=1)
        every = np.arange(len(self.rows))
        to_nearest = self.distances[every, first]
        if len(missed := np.flatnonzero(~hits[every, first])):
            _, to_nearest[missed] = assign(self.rows[missed], self.rows[chosen], metric=self.metric)
        return to_nearest, self.distances[chosen, min(rank, self.distances.shape[1]) - 1]


@dataclass(frozen=True, slots=True)
class _Found:
    """What one block of the subset gives."""

    best: torch.Tensor
    """float32 (n,): highest score of each row of the sample."""
    nearest: torch.Tensor
    """int64 (n,): the row of the subset that has it."""
    at_rank: torch.Tensor
    """float64 (b,): squared distance of each row of the block to its neighbour in the sample."""


def _search(sample: torch.Tensor, block: torch.Tensor, start: int, rank: int) -> _Found:
    # x.y - |x|^2 / 2 - |y|^2 / 2 = -|x - y|^2 / 2: one of the two lengths is the same for all that are compared.
    scores = torch.addmm(_half_squares(block)[:, None], block, sample.T, beta=-1)
    best, row = scores.max(dim=0)
    squared, _ = _closest(sample, block, scores, rank)
    return _Found(best, row + start, squared[:, rank - 1])


def _closest(
    sample: torch.Tensor, block: torch.Tensor, scores: torch.Tensor, n_neighbours: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The nearest rows of the sample, nearest first: squared distances float64 and numbers int64 (b, n_neighbours).

    `scores`, float32 (b, n), are products with the sample but for a number a row; they are overwritten.
    """
    scores -= _half_squares(sample)
    n_candidates = min(n_neighbours + _SPARE, len(sample))
    found = scores.topk(n_candidates, dim=1, sorted=False).indices
    mine = torch.arange(len(block), device=sample.device).repeat_interleave(n_candidates)
    exact, order = squared_distances(block, mine, sample, found.flatten()).reshape(found.shape).sort(dim=1)
    return exact[:, :n_neighbours], found.gather(1, order)[:, :n_neighbours]


def _half_squares(rows: torch.Tensor) -> torch.Tensor:
    return torch.linalg.vector_norm(rows, dim=1).square_() / 2


def _reported(squared: torch.Tensor, metric: Metric) -> np.ndarray:
    return reported_distance(squared, metric).cpu().numpy()


def _step(sample: torch.Tensor, block_bytes: int) -> int:
    return max(1, block_bytes // (4 * len(sample)))
