"""Sketches: a few coordinates of rows and centroids, from which follows how near they can be at most.

The squared distance of two points is at least that of their coordinates along some orthonormal directions. The leading
directions of a sample of rows hold much of it where rows lie near a subspace, as embeddings do. Of the rest, random
directions hold a share that can hardly be exceeded: with probability 1 - 1e-15 a pair's share is below a known factor
(Dasgupta and Gupta 2003, lemma 2.2), by which the distance along them is scaled up. A product of sketches, a fifth as
wide as rows of 384 dimensions, so leaves a few centroids of a hundred to be scored, on any data whose points lie in
more than one heap.

Processors that multiply bfloat16 several times faster take wider sketches, rounded to it: the product then costs less
still, and more is ruled out. What rounding takes from a bound is measured and added to it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from curation_assets.algorithms.compiled_loops import CHUNK
from curation_assets.algorithms.pair_kernels import search_all, search_bounded, squared_lengths
from curation_assets.algorithms.part_threads import in_parts
from curation_assets.algorithms.rounded_scores import (
    PRODUCT_ROUNDOFF,
    TWO_TERM_ROUNDOFF,
    bfloat16_is_faster,
    rounding_error,
    rounding_residuals,
    two_terms,
)
from curation_assets.algorithms.rounding_errors import UNIT_ROUNDOFF, product_error
from curation_assets.algorithms.row_maxima import row_argmax

# Directions, leading and random ones: those of float32 and those of bfloat16.
_DIRECTIONS, _ROUNDED_DIRECTIONS = (32, 48), (64, 64)
# Rows that are no wider than so many times their directions are over as soon as their sketches.
_FEWEST_WIDTHS = 2
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
    """float32 or bfloat16 (n, columns of the basis): coordinates, then ones for what stands for a centroid's length."""
    rests: torch.Tensor
    """float32 (n,): half of what the squared length of a row exceeds that of its coordinates by."""
    residuals: torch.Tensor
    """float32 (n,): length of what rounding took from the coordinates, 0 in float32."""
    groups: torch.Tensor
    """int64 (n,): rows of one group resemble each other."""

    def __getitem__(self, rows: slice | torch.Tensor) -> Sketches:
        """Sketches of some of the rows."""
        values = self.values[rows] if isinstance(rows, slice) else self.values.index_select(0, rows)
        return Sketches(values, self.rests[rows], self.residuals[rows], self.groups[rows])


@dataclass(frozen=True, slots=True)
class Basis:
    """Directions of sketches."""

    directions: torch.Tensor
    """float32 (d, q), orthogonal up to rounding: of length 1, the random ones stretched."""
    stretch: float
    """Square of the length of the random ones."""
    pivots: torch.Tensor
    """float32 (p, q): coordinates of some rows, around which the others are grouped."""
    is_rounded: bool
    """Whether sketches are in bfloat16."""

    @classmethod
    def of(cls, sample: torch.Tensor) -> Basis:
        """The leading directions of a sample of rows, by a few steps of subspace iteration, and random ones.

        Args:
            sample: float32 (s, d), of so many dimensions that `is_sketchable`.
        """
        dimension = sample.shape[1]
        is_rounded = _is_rounded(dimension)
        n_leading, n_random = _ROUNDED_DIRECTIONS if is_rounded else _DIRECTIONS
        draw = torch.from_numpy(np.random.default_rng(0).normal(size=(dimension, n_leading + n_random)))
        products = (sample.T @ sample).double()
        leading = draw[:, :n_leading]
        for _ in range(_POWER_STEPS):
            leading = torch.linalg.qr(products @ leading)[0]
        directions = torch.linalg.qr(torch.cat([leading, draw[:, n_leading:]], dim=1))[0]
        stretch = _stretch(n_random, dimension - n_leading)
        directions[:, n_leading:] *= math.sqrt(stretch)
        single = directions.float()
        spread = np.linspace(0, len(sample) - 1, min(len(sample), _PIVOTS)).astype(np.int64)
        return cls(single, stretch, sample[torch.from_numpy(spread)] @ single, is_rounded)

    @property
    def columns(self) -> int:
        """Of a sketch: coordinates and, one or in bfloat16 two, terms of minus half a centroid's squared length."""
        return self.directions.shape[1] + (2 if self.is_rounded else 1)

    @property
    def kind(self) -> torch.dtype:
        """Of the values of a sketch."""
        return torch.bfloat16 if self.is_rounded else torch.float32

    def sketches(self, rows: torch.Tensor, norms: torch.Tensor) -> Sketches:
        """Sketches of rows.

        Args:
            rows: float32 (b, d).
            norms: float32 (b,): their lengths.
        """
        values = torch.empty(len(rows), self.columns, dtype=self.kind)
        rests, residuals = torch.empty(len(rows)), torch.zeros(len(rows))
        groups = torch.empty(len(rows), dtype=torch.int64)

        def fill(part: slice, coordinates: torch.Tensor, nearest: torch.Tensor) -> None:
            values[part, : coordinates.shape[1]], values[part, coordinates.shape[1] :] = coordinates, 1
            rests[part] = 0.5 * (norms[part].double().square() - squared_lengths(coordinates))
            if self.is_rounded:
                residuals[part] = rounding_residuals(coordinates)
            groups[part] = nearest

        self._project(rows, fill)
        return Sketches(values, rests, residuals, groups)

    def coordinates(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Coordinates float32 (b, q) of rows float32 (b, d), and int64 (b,) groups of those that are alike."""
        every = torch.empty(len(rows), self.directions.shape[1])
        groups = torch.empty(len(rows), dtype=torch.int64)

        def fill(part: slice, coordinates: torch.Tensor, nearest: torch.Tensor) -> None:
            every[part], groups[part] = coordinates, nearest

        self._project(rows, fill)
        return every, groups

    def _project(self, rows: torch.Tensor, use: Callable[[slice, torch.Tensor, torch.Tensor], None]) -> None:
        """Call a function with a part of the rows, their coordinates and the pivots nearest to them, for all parts."""
        halves = 0.5 * self.pivots.square().sum(dim=1)

        def project(start: int, stop: int) -> None:
            for first in range(start, stop, _ROWS_AT_ONCE):
                part = slice(first, min(first + _ROWS_AT_ONCE, stop))
                coordinates = rows[part] @ self.directions
                use(part, coordinates, row_argmax(torch.addmm(-halves, coordinates, self.pivots.T)))

        in_parts(project, len(rows), self.directions.numel())

    def error(self, norms: torch.Tensor, largest_norm: float) -> torch.Tensor:
        """What rounding may take from the bound of a row's scores, float32 (b,).

        Args:
            norms: float32 (b,): lengths of the rows.
            largest_norm: of the centroids.
        """
        n_directions = self.directions.shape[1]
        of_coordinates = math.sqrt(n_directions) * product_error(len(self.directions))
        of_directions = 4 * math.sqrt(n_directions) * UNIT_ROUNDOFF
        of_products = 2 * product_error(self.columns)
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
        coordinates, groups = basis.coordinates(centroids)
        self._numbers = torch.argsort(groups, stable=True)
        self._positions = torch.argsort(self._numbers)
        self._centroids, self._bias = centroids.index_select(0, self._numbers), bias[self._numbers]
        coordinates = coordinates.index_select(0, self._numbers)
        squared = squared_lengths(coordinates)
        halves = (-0.5 * squared).float()
        # Columns up to a multiple of the chunk, of centroids that are infinitely far.
        self._sketches = torch.zeros(-(-len(centroids) // CHUNK) * CHUNK, basis.columns, dtype=basis.kind)
        here, width = self._sketches[: len(centroids)], coordinates.shape[1]
        here[:, :width] = coordinates
        self._sketches[len(centroids) :, width] = _NO_SCORE
        if basis.is_rounded:
            here[:, width], here[:, width + 1] = two_terms(halves)
            self._residual = float(rounding_residuals(coordinates).max())
            self._largest_length = math.sqrt(float(squared.max()))
        else:
            here[:, width] = halves
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
        if self._basis.is_rounded:
            above += self._rounding_error(sketches, norms, bound)
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
            part = order[start:stop]
            values = sketches.values.index_select(0, part)
            bounds = torch.empty(min(rows_at_once, len(part)), len(self._sketches))
            products = torch.empty_like(bounds, dtype=values.dtype) if self._basis.is_rounded else bounds
            for first in range(0, len(part), rows_at_once):
                rows = part[first : first + rows_at_once]
                here = slice(len(rows))
                torch.mm(values[first : first + rows_at_once], self._sketches.T, out=products[here])
                if self._basis.is_rounded:
                    bounds[here] = products[here]
                search_bounded(
                    block,
                    rows,
                    bounds[here],
                    self._centroids,
                    self._bias,
                    at_least,
                    above,
                    slack,
                    own,
                    left_out,
                    (column, best, others),
                    roundoff=PRODUCT_ROUNDOFF if self._basis.is_rounded else 0.0,
                )

        in_parts(search_part, n_rows, self._sketches.numel())
        left = torch.nonzero(column < 0).flatten()
        if len(left):
            best[left], column[left], others[left] = search_all(
                block.index_select(0, left), self._centroids, self._bias, at_least[left]
            )
            if left_out is not None:
                best[left[column[left] == left_out[left]]] = -math.inf
        self._n_searched, self._n_left = self._n_searched + n_rows, self._n_left + len(left)
        return self._numbers[column], best, others

    def _rounding_error(self, sketches: Sketches, norms: torch.Tensor, bound: torch.Tensor) -> torch.Tensor:
        """What rounding to bfloat16 may take from the bound of a row's scores before its product is rounded too."""
        # Of the coordinates' length, which is what `rests` leave of the row's, up to rounding.
        lengths = (norms.square() * (1 + 1e-5) - 2 * sketches.rests).clamp(min=0).sqrt()
        of_constants = TWO_TERM_ROUNDOFF * self._largest_length**2
        largest = self._largest_length, self._residual
        return rounding_error(lengths, sketches.residuals, *largest, of_constants) + bound


def sketch_bytes(dimension: int, device: str) -> int:
    """What the sketch of a row takes, 0 where none is made."""
    if device != "cpu" or not _is_wide(dimension, _DIRECTIONS):
        return 0
    return 16 + (2 * (sum(_ROUNDED_DIRECTIONS) + 2) if _is_rounded(dimension) else 4 * (sum(_DIRECTIONS) + 1))


def is_sketchable(n_rows: int, n_centroids: int, dimension: int, device: str) -> bool:
    """Whether a basis pays for a search of so many rows among so many centroids: only on the CPU."""
    wide = _is_wide(dimension, _DIRECTIONS) and n_centroids >= _FEWEST_CENTROIDS
    return device == "cpu" and wide and n_rows * n_centroids >= _FEWEST_PAIRS


def sample_for_basis(n_rows: int) -> np.ndarray:
    """Rows, evenly spread, from which to take a basis, int64 (s,)."""
    return np.unique(np.linspace(0, n_rows - 1, min(n_rows, _SAMPLE_ROWS)).astype(np.int64))


def _is_wide(dimension: int, directions: tuple[int, int]) -> bool:
    return dimension >= _FEWEST_WIDTHS * sum(directions)


def _is_rounded(dimension: int) -> bool:
    return _is_wide(dimension, _ROUNDED_DIRECTIONS) and bfloat16_is_faster("cpu")


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
