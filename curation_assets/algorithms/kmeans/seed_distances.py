"""Distances of a worker's rows to the seeds so far, from which the next seeds are drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from curation_assets.algorithms.kmeans.seeding_loops import draw_in_blocks
from curation_assets.algorithms.kmeans.tiles import TiledRows
from curation_assets.algorithms.search.base import NearestCentroids
from curation_assets.algorithms.search.codebook import Codebook
from curation_assets.algorithms.search.cuda.compact import Block
from curation_assets.algorithms.search.pairs import squared_distances


class SeedDistances:
    """Nearest seed of each of a worker's rows and the squared distance to it.

    Args:
        tiled: prepared rows.
        weights: float64 (n,): how many times each row counts; None counts each once.
    """

    def __init__(self, tiled: TiledRows, weights: np.ndarray | None) -> None:
        self._tiled, self._weights = tiled, weights
        self.n_seeds = 0
        self.nearest = np.zeros(tiled.rows.n_rows, dtype=np.int64)
        """int64 (n,): number of each row's exact nearest seed, the lowest of equally near ones."""
        self.squared = np.full(tiled.rows.n_rows, np.inf)
        """float64 (n,)."""

    def add(self, points: torch.Tensor) -> None:
        """Account for new seeds, float32 (m, d)."""
        search = self._tiled.search_among(Codebook.of(points))
        # Before several threads ask for some of them.
        self._tiled.norms()

        def look(start: int, block: Block) -> None:
            known = torch.from_numpy(self.squared[start : start + len(block)]).to(block.device)
            improved, column, squared = self._nearer(search, start, block, known)
            rows = start + improved.cpu().numpy()
            self.squared[rows] = squared.cpu().numpy()
            self.nearest[rows] = self.n_seeds + column.cpu().numpy()

        self._tiled.each_tile(look, search.tile_rows())
        self.n_seeds += len(points)

    def _nearer(
        self, search: NearestCentroids, start: int, block: Block, known: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Rows of a tile that have a new seed nearer than the known one.

        Args:
            search: among the new seeds.
            start: number of the tile's first row.
            block: float32 (b, d): the tile.
            known: float64 (b,): squared distances to the nearest seed so far.

        Returns:
            int64 (r,) rows of the tile, int64 (r,) their new seeds and float64 (r,) the squared distances.
        """
        tile, centroids = slice(start, start + len(block)), search.book.centroids
        norms = self._tiled.norms()[tile]
        lengths = norms.double().square()
        # |x - c|^2 = |x|^2 - 2 score: with a lower score no new seed can be nearer than the known one. The slack
        # covers the rounding of the lengths themselves.
        at_least = (0.5 * (lengths * (1 - 1e-5) - known)).float() - search.book.error_bound(norms)
        found = search.best(replace(self._tiled.searched(search, tile, block, norms), at_least=at_least))
        rows = torch.nonzero(found.score >= at_least).flatten()
        column = found.column[rows]
        squared = squared_distances(block, rows, centroids, column)
        improved = squared < known[rows]
        return rows[improved], column[improved], squared[improved]

    def mass(self) -> np.ndarray:
        """What the probability of drawing each row is proportional to, float64 (n,)."""
        return self.squared if self._weights is None else self.squared * self._weights


def draw_by_mass(mass: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """The rows at given positions of the cumulative mass.

    Args:
        mass: float64 (n,), not all zero.
        positions: float64 (m,), from 0 to the sum of the mass.

    Returns:
        int64 (m,): rows whose mass is not zero.
    """
    drawn = np.empty(len(positions), dtype=np.int64)
    draw_in_blocks(mass, np.array([0, len(mass)]), np.zeros_like(drawn), positions, drawn)
    return drawn


def positions_in_blocks(masses: np.ndarray, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the mass of all blocks, as blocks and positions within their mass.

    Args:
        masses: float64 (b,): of the blocks, not all zero.
        shares: float64 (m,): random numbers from 0 to 1.

    Returns:
        int64 (m,) blocks and float64 (m,) positions.
    """
    cumulative = np.cumsum(masses)
    positions = shares * cumulative[-1]
    block = np.minimum(np.searchsorted(cumulative, positions, side="right"), np.flatnonzero(masses)[-1])
    return block, np.maximum(0.0, positions - np.concatenate([[0.0], cumulative])[block])


def draw_from_blocks(
    mass: np.ndarray, edges: np.ndarray, blocks: np.ndarray, positions: np.ndarray
) -> np.ndarray:
    """Rows at given positions of the cumulative mass of their blocks.

    Args:
        mass: float64 (n,).
        edges: int64 (b + 1,): block i has the rows from edges[i] up to edges[i + 1].
        blocks: int64 (m,): each has a row with mass.
        positions: float64 (m,), from 0 to the sum of the block's mass.

    Returns:
        int64 (m,): rows whose mass is not zero.
    """
    by_block, drawn = np.argsort(blocks, kind="stable"), np.empty(len(blocks), dtype=np.int64)
    draw_in_blocks(mass, edges, blocks[by_block], positions[by_block], drawn)
    found = np.empty_like(drawn)
    found[by_block] = drawn
    return found
