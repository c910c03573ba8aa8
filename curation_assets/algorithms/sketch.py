"""Sketches: a few coordinates of rows and centroids, from which follows how near they can be at most.

The squared distance of two points is at least that of their coordinates along some orthonormal directions. The leading
directions of a sample of rows hold much of it where rows lie near a subspace, as embeddings do. Of the rest, random
directions hold a share that can hardly be exceeded: with probability 1 - 1e-15 a pair's share is below a known factor
(Dasgupta and Gupta 2003, lemma 2.2), by which the distance along them is scaled up. A product of sketches, a fifth as
wide as rows of 384 dimensions, so leaves a few centroids of a hundred to be scored, on any data whose points lie in
more than one heap.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import torch

from curation_assets.algorithms.compiled_loops import CHUNK
from curation_assets.algorithms.pair_kernels import search_all, search_bounded, squared_lengths
from curation_assets.algorithms.part_threads import in_parts
from curation_assets.algorithms.rounding_errors import UNIT_ROUNDOFF, product_error
from curation_assets.algorithms.row_maxima import row_argmax

_LEADING, _RANDOM = 32, 48
_DIRECTIONS = _LEADING + _RANDOM
SKETCH_COLUMNS = _DIRECTIONS + 1
"""Beside the directions 1, against minus half the squared length of a centroid's coordinates."""
# Rows that are no wider than that are over as soon as their sketches.
_FEWEST_DIMENSIONS = 2 * _DIRECTIONS
# With more of them the bounds of 64 rows take 16 MiB a thread.
_FEWEST_CENTROIDS, _MOST_CENTROIDS = 128, 65_536
# Rows times centroids below which a basis is not worth finding.
_FEWEST_PAIRS = 500_000
# Share of the rows so far that may need a product with all centroids before sketches are given up.
_MOST_LEFT = 0.7
# Of rows that are searched for together, and of bounds of some of them, which should stay in the cache.
_TILE_BYTES, _BOUNDS_BYTES = 8 * 2**20, 4 * 2**20
_SAMPLE_ROWS, _PIVOTS = 2048, 128
_ROWS_AT_ONCE = 1024
_POWER_STEPS = 3
# For a pair of a row and the very centroid that is nearest to it.
_LOG_FAILURE = math.log(1e-15)
_LARGEST_VALUE = 1e18
_NO_SCORE = -3e38


@dataclass(frozen=True, slots=True)
class Sketches:
    """Sketches of rows."""

    values: torch.Tensor
    """float32 (n, SKETCH_COLUMNS)."""
    rests: torch.Tensor
    """float32 (n,): half of what the squared length of a row exceeds that of its coordinates by."""
    groups: torch.Tensor
    """int64 (n,): rows of one group resemble each other."""

    def __getitem__(self, rows: slice | torch.Tensor) -> Sketches:
        """Sketches of some of the rows."""
        values = self.values[rows] if isinstance(rows, slice) else self.values.index_select(0, rows)
        return Sketches(values, self.rests[rows], self.groups[rows])


@dataclass(frozen=True, slots=True)
class Basis:
    """Directions of sketches."""

    directions: torch.Tensor
    """float32 (d, _DIRECTIONS), orthogonal up to rounding: of length 1, the random ones stretched."""
    stretch: float
    """Square of the length of the random ones."""
    pivots: torch.Tensor
    """float32 (p, _DIRECTIONS): coordinates of some rows, around which the others are grouped."""

    @classmethod
    def of(cls, sample: torch.Tensor) -> Basis:
        """The leading directions of a sample of rows, by a few steps of subspace iteration, and random ones.

        Args:
            sample: float32 (s, d), d >= 2 * _DIRECTIONS.
        """
        dimension = sample.shape[1]
        draw = torch.from_numpy(np.random.default_rng(0).normal(size=(dimension, _DIRECTIONS)))
        products = (sample.T @ sample).double()
        leading = draw[:, :_LEADING]
        for _ in range(_POWER_STEPS):
            leading = torch.linalg.qr(products @ leading)[0]
        directions = torch.linalg.qr(torch.cat([leading, draw[:, _LEADING:]], dim=1))[0]
        stretch = _stretch(_RANDOM, dimension - _LEADING)
        directions[:, _LEADING:] *= math.sqrt(stretch)
        rounded = directions.float()
        spread = np.linspace(0, len(sample) - 1, min(len(sample), _PIVOTS)).astype(np.int64)
        return cls(rounded, stretch, sample[torch.from_numpy(spread)] @ rounded)

    def sketches(self, rows: torch.Tensor, norms: torch.Tensor) -> Sketches:
        """Sketches of rows.

        Args:
            rows: float32 (b, d).
            norms: float32 (b,): their lengths.
        """
        values = torch.empty(len(rows), SKETCH_COLUMNS)
        rests, groups = torch.empty(len(rows)), torch.empty(len(rows), dtype=torch.int64)
        halves = 0.5 * self.pivots.square().sum(dim=1)

        def fill(start: int, stop: int) -> None:
            for first in range(start, stop, _ROWS_AT_ONCE):
                part = slice(first, min(first + _ROWS_AT_ONCE, stop))
                coordinates = rows[part] @ self.directions
                values[part, :-1], values[part, -1] = coordinates, 1
                rests[part] = 0.5 * (norms[part].double().square() - squared_lengths(coordinates))
                groups[part] = row_argmax(torch.addmm(-halves, coordinates, self.pivots.T))

        in_parts(fill, len(rows), self.directions.numel())
        return Sketches(values, rests, groups)

    def error(self, norms: torch.Tensor, largest_norm: float) -> torch.Tensor:
        """What rounding may take from the bound of a row's scores, float32 (b,).

        Args:
            norms: float32 (b,): lengths of the rows.
            largest_norm: of the centroids.
        """
        of_coordinates = math.sqrt(_DIRECTIONS) * product_error(len(self.directions))
        of_directions = 4 * math.sqrt(_DIRECTIONS) * UNIT_ROUNDOFF
        of_products = 2 * product_error(SKETCH_COLUMNS)
        share = self.stretch * (1.1 * of_coordinates + of_directions + of_products)
        return (norms + largest_norm).square() * (share + 2 * product_error(len(self.directions)))


class SketchedCentroids:
    """Centroids with their sketches, to search among.

    Args:
        basis: of the sketches, of the rows too.
        centroids: float32 (m, d).
        bias: float32 (m,), see `Codebook`.
        largest_norm: of the centroids.
    """

    def __init__(
        self, basis: Basis, centroids: torch.Tensor, bias: torch.Tensor, largest_norm: float
    ) -> None:
        self._basis, self._largest_norm = basis, largest_norm
        # Centroids that resemble each other in a row: what is not ruled out then lies close together.
        sketches = basis.sketches(centroids, torch.linalg.vector_norm(centroids, dim=1))
        self._numbers = torch.argsort(sketches.groups, stable=True)
        self._positions = torch.argsort(self._numbers)
        self._centroids, self._bias = centroids.index_select(0, self._numbers), bias[self._numbers]
        coordinates = sketches.values.index_select(0, self._numbers)[:, :-1].contiguous()
        # Columns up to a multiple of the chunk, of centroids that are infinitely far.
        self._sketches = torch.zeros(-(-len(centroids) // CHUNK) * CHUNK, SKETCH_COLUMNS)
        self._sketches[: len(centroids), :-1] = coordinates
        self._sketches[:, -1] = _NO_SCORE
        self._sketches[: len(centroids), -1] = -0.5 * squared_lengths(coordinates)
        self._n_searched = self._n_left = 0

    @property
    def is_open(self) -> bool:
        """Whether the sketches have ruled out enough so far."""
        return self._n_left <= _MOST_LEFT * self._n_searched

    @classmethod
    def if_worthwhile(
        cls, basis: Basis | None, centroids: torch.Tensor, bias: torch.Tensor, largest_norm: float
    ) -> SketchedCentroids | None:
        """The centroids with their sketches, or None where there is no basis or they are too few."""
        is_fit = _FEWEST_CENTROIDS <= len(centroids) <= _MOST_CENTROIDS and largest_norm < _LARGEST_VALUE
        if basis is None or not is_fit:
            return None
        return cls(basis, centroids, bias, largest_norm)

    def tile_rows(self) -> int:
        """Rows to search for together."""
        return max(256, _TILE_BYTES // (4 * self._centroids.shape[1]))

    def search(
        self,
        block: torch.Tensor,
        sketches: Sketches,
        norms: torch.Tensor,
        at_least: torch.Tensor,
        bound: torch.Tensor,
        own: torch.Tensor | None = None,
        left_out: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None:
        """The centroid with the best score of each row.

        Args:
            block: float32 (b, d).
            sketches: of the rows.
            norms: float32 (b,): their lengths.
            at_least: float32 (b,): lower scores are of no interest; -inf where nothing is known.
            bound: float32 (b,): what a float32 score may be off by.
            own: see `search_bounded`.
            left_out: see `search_bounded`.

        Returns:
            The centroid int64 (b,), its float32 score (b,), -inf where none was of interest or it does not count,
            and float32 (b,) what no other one's score exceeds; None if sketches ruled out too few so far.
        """
        if not self.is_open:
            return None
        n_rows = len(block)
        slack = 2 * bound
        above = sketches.rests + self._basis.error(norms, self._largest_norm) + slack
        if left_out is not None:
            left_out = torch.where(left_out < 0, left_out, self._positions[left_out.clamp(min=0)])
        column, best, others = (
            torch.zeros(n_rows, dtype=torch.int64),
            torch.empty(n_rows),
            torch.empty(n_rows),
        )
        rows_at_once = max(64, _BOUNDS_BYTES // (4 * len(self._sketches)))
        # Rows that resemble each other, and have as much to rule out, in a row.
        by_score = torch.argsort(at_least)
        order = by_score[torch.argsort(sketches.groups[by_score], stable=True)]

        def search_part(start: int, stop: int) -> None:
            bounds = torch.empty(min(rows_at_once, stop - start), len(self._sketches))
            part = order[start:stop]
            values = sketches.values.index_select(0, part)
            for first in range(0, len(part), rows_at_once):
                rows = part[first : first + rows_at_once]
                search_bounded(
                    block,
                    rows,
                    torch.mm(values[first : first + rows_at_once], self._sketches.T, out=bounds[: len(rows)]),
                    self._centroids,
                    self._bias,
                    at_least,
                    above,
                    slack,
                    own,
                    left_out,
                    (column, best, others),
                )

        in_parts(search_part, n_rows, len(self._sketches) * SKETCH_COLUMNS)
        left = torch.nonzero(column < 0).flatten()
        if len(left):
            best[left], column[left], others[left] = search_all(
                block.index_select(0, left), self._centroids, self._bias, at_least[left]
            )
            if left_out is not None:
                best[left[column[left] == left_out[left]]] = -math.inf
        self._n_searched, self._n_left = self._n_searched + n_rows, self._n_left + len(left)
        return self._numbers[column], best, others


def sketch_bytes(dimension: int, device: str) -> int:
    """What the sketch of a row takes, 0 where none is made."""
    return 4 * SKETCH_COLUMNS + 12 if device == "cpu" and dimension >= _FEWEST_DIMENSIONS else 0


def is_sketchable(n_rows: int, n_centroids: int, dimension: int, device: str) -> bool:
    """Whether a basis pays for a search of so many rows among so many centroids: only on the CPU."""
    wide = dimension >= _FEWEST_DIMENSIONS and n_centroids >= _FEWEST_CENTROIDS
    return device == "cpu" and wide and n_rows * n_centroids >= _FEWEST_PAIRS


def sample_for_basis(n_rows: int) -> np.ndarray:
    """Rows, evenly spread, from which to take a basis, int64 (s,)."""
    return np.unique(np.linspace(0, n_rows - 1, min(n_rows, _SAMPLE_ROWS)).astype(np.int64))


@functools.cache
def _stretch(n_directions: int, dimension: int) -> float:
    """By how much a squared distance along random directions can be scaled up to still be no more than the whole."""

    def log_probability(factor: float) -> float:
        rest = dimension - n_directions
        left = 1 + (1 - factor) * n_directions / rest
        return -math.inf if left <= 0 else (n_directions * math.log(factor) + rest * math.log(left)) / 2

    low, high = 1.0, dimension / n_directions
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if log_probability(middle) > _LOG_FAILURE else (low, middle)
    return dimension / (n_directions * high)
