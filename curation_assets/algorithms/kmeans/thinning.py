"""Thinning: which of many seeds that were proposed at once sequential sampling would have kept."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch

from curation_assets.algorithms.kmeans.seeding_loops import accept_until_unsure, keep_until_unsure
from curation_assets.algorithms.search.base import SearchedRows
from curation_assets.algorithms.search.choose import nearest_centroids
from curation_assets.algorithms.search.codebook import Codebook
from curation_assets.algorithms.search.kind import Kind, kind_of
from curation_assets.algorithms.search.pairs import squared_distances
from curation_assets.algorithms.threads import in_parts

# Proposals that are decided together, and blocks of them that are scored at a time. Scores after the last seed are
# wasted.
_ACCEPT_BLOCK, _BLOCKS_AT_ONCE = 256, 4


def accepted(
    points: torch.Tensor, stale: np.ndarray, rng: np.random.Generator, room: int, *, device: str = "cpu"
) -> np.ndarray:
    """The first `room` proposals that sequential sampling would have kept, int64, in order.

    A proposal is kept if no seed kept before it is nearer than its draw, a share of the distance it was proposed for.
    Float32 scores decide that, unless the draw lies within their error. On the CPU proposals are scored block by block,
    against those kept so far; on other devices all against all, as that is one product and one copy.

    Args:
        points: float32 (m, d): the proposed rows, on the CPU.
        stale: float64 (m,): their squared distances when they were proposed.
        rng: source of the decisions.
        room: seeds that are still missing.
        device: torch device of the products.
    """
    # u * stale < now holds with probability now / stale. A row that was proposed in proportion to its stale distance is
    # thus kept in proportion to its distance now, as if drawn after the seeds before it.
    draws = rng.random(len(points)) * stale
    book, norms = Codebook.of(points), torch.linalg.vector_norm(points, dim=1, dtype=torch.float64)
    # |x - c|^2 = |x|^2 - 2 score: from the limit on a seed is nearer than the draw.
    limits, bounds = 0.5 * (norms.square().numpy() - draws), book.error_bound(norms.float()).numpy()
    proposals = _Proposals(points, book, draws, stale, limits, bounds)
    if kind_of(torch.device(device)) is Kind.CPU:
        keeps = _kept_in_blocks(proposals, norms.float(), room)
    else:
        keeps = _kept_at_once(proposals, room, device)
    return np.flatnonzero(keeps)[:room]


@dataclass(frozen=True, slots=True)
class _Proposals:
    points: torch.Tensor
    """float32 (m, d)."""
    book: Codebook
    """The same points as seeds."""
    draws: np.ndarray
    """float64 (m,)."""
    stale: np.ndarray
    """float64 (m,)."""
    limits: np.ndarray
    """float64 (m,): scores from which a proposal is rejected."""
    bounds: np.ndarray
    """float32 (m,): what scores may be off by."""

    def is_kept(self, number: int, keeps: np.ndarray) -> bool:
        """The decision on one proposal in float64, after those kept so far, bool (m,)."""
        nearest = _nearest_squared(self.points, number, np.flatnonzero(keeps))
        return bool(self.draws[number] < min(self.stale[number], nearest))


def _kept_in_blocks(proposals: _Proposals, lengths: torch.Tensor, room: int) -> np.ndarray:
    """Which proposals are kept, bool (m,): at least the first `room`.

    Args:
        proposals: all of them.
        lengths: float32 (m,): of the points.
        room: seeds that are still missing.
    """
    points, book, draws, stale = proposals.points, proposals.book, proposals.draws, proposals.stale
    keeps = np.zeros(len(points), dtype=bool)
    survivors, kept_bias = torch.empty_like(points), torch.empty_like(book.bias)
    n_kept = 0
    # Block by block, against those kept so far: rejected proposals need no scores against later ones.
    for block, inside in _scores_inside(points, book):
        highest = np.full(len(points[block]), -np.inf, dtype=np.float32)
        if n_kept:
            kept = Codebook(survivors[:n_kept], kept_bias[:n_kept], book.largest_norm)
            rows = SearchedRows(points[block], lengths[block])
            highest = nearest_centroids(kept, len(rows)).leading(rows).score.numpy()
        candidate = 0
        while candidate < len(highest):
            candidate = accept_until_unsure(
                inside,
                highest,
                proposals.limits[block],
                proposals.bounds[block],
                draws[block] < stale[block],
                keeps[block],
                candidate,
            )
            if candidate < len(highest):
                number = block.start + candidate
                if proposals.is_kept(number, keeps):
                    keeps[number] = True
                    np.maximum(highest, inside[candidate], out=highest)
                candidate += 1
        new = points[block][torch.from_numpy(keeps[block])]
        survivors[n_kept : n_kept + len(new)] = new
        kept_bias[n_kept : n_kept + len(new)] = book.bias[block][torch.from_numpy(keeps[block])]
        n_kept += len(new)
        if n_kept >= room:
            break
    return keeps


def _kept_at_once(proposals: _Proposals, room: int, device: str) -> np.ndarray:
    """Which proposals are kept, bool (m,): at least the first `room`.

    Waits for the device once. Memory there: 6 bytes for each pair of proposals, of which one is copied to the host.
    """
    points, book = proposals.points.to(device), proposals.book
    # In float32, rounded away from what they must not miss.
    low = np.nextafter((proposals.limits - proposals.bounds).astype(np.float32), np.float32(-np.inf))
    high = np.nextafter((proposals.limits + proposals.bounds).astype(np.float32), np.float32(np.inf))
    low_there, high_there = (torch.from_numpy(limit)[:, None].to(device) for limit in (low, high))
    scores = Codebook(points, book.bias.to(device), book.largest_norm).scores(points)
    verdicts = ((scores >= low_there).byte() + (scores > high_there).byte()).cpu().numpy()
    keeps, may_keep = np.zeros(len(points), dtype=bool), proposals.draws < proposals.stale
    number = 0
    while number < len(points):
        number = keep_until_unsure(verdicts, may_keep, keeps, number, room)
        if number < len(points):
            keeps[number] = proposals.is_kept(number, keeps)
            number += 1
    return keeps


def _scores_inside(points: torch.Tensor, book: Codebook) -> Iterator[tuple[slice, np.ndarray]]:
    """Blocks of proposals, and the scores float32 (b, b) of each proposal as a seed of the others.

    Several blocks are scored at a time, one on each thread.
    """
    every = [slice(start, start + _ACCEPT_BLOCK) for start in range(0, len(points), _ACCEPT_BLOCK)]
    for first in range(0, len(every), _BLOCKS_AT_ONCE):
        blocks = every[first : first + _BLOCKS_AT_ONCE]
        score = functools.partial(_scores_of_blocks, points, book, blocks)
        scores = in_parts(score, len(blocks), _ACCEPT_BLOCK**2 * points.shape[1])
        yield from zip(blocks, chain.from_iterable(scores), strict=True)


def _scores_of_blocks(
    points: torch.Tensor, book: Codebook, blocks: list[slice], start: int, stop: int
) -> list[np.ndarray]:
    return [
        torch.addmm(book.bias[block, None], points[block], points[block].T).numpy()
        for block in blocks[start:stop]
    ]


def _nearest_squared(points: torch.Tensor, number: int, others: np.ndarray) -> float:
    """The smallest squared distance of a point to others of the same matrix; infinite without others."""
    origin = torch.zeros(len(others), dtype=torch.int64)
    squared = squared_distances(points, torch.from_numpy(others), points[number : number + 1], origin)
    return float(squared.min()) if len(others) else math.inf
