"""How far a worker's rows are from the seeds so far, which decides what becomes the next seed."""

from __future__ import annotations

import functools

import numpy as np
import torch

from curation_assets.algorithms.kmeans.seeding_loops import draw_in_blocks
from curation_assets.algorithms.kmeans.tiles import TiledRows
from curation_assets.algorithms.search.assignment import (
    Codebook,
    nearest_of_unsure,
    resolve,
    squared_distances,
    top_two,
)
from curation_assets.algorithms.search.cpu.sketched_centroids import SketchedCentroids
from curation_assets.algorithms.search.rounded_scores import RoundedCentroids


class SeedDistances:
    """Nearest seed of each of a worker's rows and the squared distance to it.

    Args:
        tiled: prepared rows.
        weights: float64 (n,): a row counts as so many copies of it; None counts each once.
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
        book = Codebook.of(points)
        search = _Search(self._tiled, book, is_first=not self.n_seeds)
        # Before several threads ask for some of them.
        self._tiled.norms()

        def look(start: int, block: torch.Tensor) -> None:
            known = torch.from_numpy(self.squared[start : start + len(block)]).to(block.device)
            improved, column, squared = search.nearer(start, block, known)
            rows = start + improved.cpu().numpy()
            self.squared[rows] = squared.cpu().numpy()
            self.nearest[rows] = self.n_seeds + column.cpu().numpy()

        self._tiled.each_tile(look, search.tile_rows())
        self.n_seeds += len(points)

    def mass(self) -> np.ndarray:
        """What each row's chance to be drawn is proportional to, float64 (n,)."""
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


class _Search:
    """A look for new seeds that are nearer to rows than those before.

    Args:
        tiled: the rows.
        book: the new seeds.
        is_first: there are none before: every row is infinitely far, and nothing can be ruled out.
    """

    def __init__(self, tiled: TiledRows, book: Codebook, *, is_first: bool) -> None:
        self._tiled, self._book = tiled, book
        self._is_first = is_first
        self._basis = None if is_first else tiled.basis(len(book.centroids))
        if self._basis is not None:
            tiled.make_sketches(self._basis)
        self._sketched = SketchedCentroids.if_worthwhile(
            self._basis, book.centroids, book.bias, book.largest_norm
        )

    @functools.cached_property
    def _rounded(self) -> RoundedCentroids | None:
        if self._is_first:
            return None
        return RoundedCentroids.if_worthwhile(self._book.centroids, self._book.bias, self._book.largest_norm)

    def tile_rows(self) -> int:
        """Rows of a tile."""
        return (self._sketched or self._rounded or self._book).tile_rows()

    def nearer(
        self, start: int, block: torch.Tensor, known: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Rows of a tile that have a new seed nearer than `known`, the seed, and the float64 squared distance."""
        tile, book = slice(start, start + len(block)), self._book
        norms = self._tiled.norms()[tile]
        bound = book.error_bound(norms)
        lengths = norms.double().square()
        # |x - c|^2 = |x|^2 - 2 score: below this score no new seed can be nearer than the known one. The slack
        # covers the rounding of the lengths themselves.
        at_least = (0.5 * (lengths * (1 - 1e-5) - known)).float() - bound
        if self._sketched is not None and self._basis is not None:
            sketches = self._tiled.sketches(self._basis, start, block)
            found = self._sketched.search(block, sketches, norms, at_least, bound)
            if found is not None:
                return _improved(block, book, known, at_least, bound, *found)
        if self._rounded is not None:
            residuals = self._tiled.residuals()[tile]
            return _nearer_rounded(block, norms, book, known, at_least, bound, self._rounded, residuals)
        best, column, second = top_two(block, book.centroids, book.bias, at_least)
        return _improved(block, book, known, at_least, bound, column, best, second)


def _improved(
    block: torch.Tensor,
    book: Codebook,
    known: torch.Tensor,
    at_least: torch.Tensor,
    bound: torch.Tensor,
    column: torch.Tensor,
    best: torch.Tensor,
    second: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rows whose best new seed is nearer than `known`, that seed, and the squared distance to it."""
    hopeful = best >= at_least
    unsure = torch.nonzero(hopeful & (best - second <= 2 * bound)).flatten()
    if len(unsure):
        column[unsure] = resolve(block.index_select(0, unsure), book, best[unsure] - 2 * bound[unsure])
    rows = torch.nonzero(hopeful).flatten()
    column = column[rows]
    squared = squared_distances(block, rows, book.centroids, column)
    improved = squared < known[rows]
    return rows[improved], column[improved], squared[improved]


def _nearer_rounded(
    block: torch.Tensor,
    norms: torch.Tensor,
    book: Codebook,
    known: torch.Tensor,
    at_least: torch.Tensor,
    bound: torch.Tensor,
    rounded: RoundedCentroids,
    residuals: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """`_Search.nearer`, where float32 compares only rows for which bfloat16 leaves the nearest new seed open."""
    column, of_best, of_others = rounded.leaders(
        block, norms, residuals, at_least, bound, floor=torch.zeros_like(at_least)
    )
    hopeful = torch.nonzero(of_best >= 0).flatten()
    block, column, norms, bound = (
        block.index_select(0, hopeful), column[hopeful], norms[hopeful], bound[hopeful]
    )  # fmt: skip
    squared = squared_distances(block, None, book.centroids, column)
    score = (0.5 * (norms.double().square() * (1 - 1e-5) - squared)).float() - 2 * bound
    unsure = torch.nonzero(at_least[hopeful] + of_others[hopeful] >= score).flatten()
    if len(unsure):
        open_rows = block.index_select(0, unsure)
        column[unsure] = nearest_of_unsure(
            open_rows, norms[unsure], residuals[hopeful][unsure], score[unsure], book, rounded
        )
        squared[unsure] = squared_distances(open_rows, None, book.centroids, column[unsure])
    improved = squared < known[hopeful]
    return hopeful[improved], column[improved], squared[improved]
