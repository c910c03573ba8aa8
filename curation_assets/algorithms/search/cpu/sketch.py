"""Sketches: a few coordinates of rows and centroids, from which follows how near they can be at most.

The squared distance of two points is at least that of their coordinates along some orthonormal directions. The leading
directions of a sample of rows hold much of it where rows lie near a subspace, as embeddings do. Of the rest, random
directions hold a share that can hardly be exceeded: with probability 1 - 1e-15 a pair's share is below a known factor
(Dasgupta and Gupta 2003, lemma 2.2), by which the distance along them is scaled up. A product of sketches, a fifth as
wide as rows of 384 dimensions, so leaves a few centroids of a hundred to be scored, on any data whose points lie in
more than one heap.

Processors that multiply bfloat16 clearly faster take wider sketches, rounded to it: the product then costs less still,
and more is ruled out. What rounding takes from a bound is measured and added to it. Among few centroids whole rows in
bfloat16 take the place of sketches.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from curation_assets.algorithms.search.cpu.kernels import squared_lengths
from curation_assets.algorithms.search.rounded_scores import (
    VALUE_ROUNDOFF,
    bfloat16_is_faster,
    rounding_residuals,
)
from curation_assets.algorithms.search.rounding_errors import UNIT_ROUNDOFF, product_error
from curation_assets.algorithms.search.row_maxima import row_argmax
from curation_assets.algorithms.threads import in_parts

# Directions, leading and random ones: those of float32 and those of bfloat16.
_DIRECTIONS, _ROUNDED_DIRECTIONS = (32, 48), (48, 48)
# Rows that are no wider than so many times their directions are over as soon as their sketches.
_FEWEST_WIDTHS = 2
# Among fewer centroids sketches rule out too little of what a product costs: where whole rows in bfloat16 take their
# place, already among more (measured).
_FEWEST_CENTROIDS, _FEWEST_ROUNDED_CENTROIDS = 128, 256
# Rows times centroids below which a basis is not worth finding.
_FEWEST_PAIRS = 500_000
# Of whole rows: below this a product in float32 is over as soon.
_FEWEST_WHOLE_CENTROIDS, _FEWEST_DIMENSIONS, _FEWEST_WHOLE_PAIRS = 16, 64, 100_000
_SAMPLE_ROWS, _PIVOTS = 2048, 128
_ROWS_AT_ONCE = 1024
_POWER_STEPS = 3
# For a pair of a row and the very centroid that is nearest to it.
_LOG_FAILURE = math.log(1e-15)


@dataclass(frozen=True, slots=True)
class Sketches:
    """Sketches of rows."""

    values: torch.Tensor
    """float32 or bfloat16 (n, columns of the basis): coordinates, then ones for what stands for a centroid's length."""
    rests: torch.Tensor
    """float32 (n,): half of what the squared length of a row exceeds that of its coordinates by."""
    residuals: torch.Tensor
    """float32 (n,): length of what rounding took from the coordinates, 0 in float32."""
    groups: torch.Tensor | None
    """int64 (n,): rows of one group resemble each other; None if that is not known."""

    def __getitem__(self, rows: slice | torch.Tensor) -> Sketches:
        """Sketches of some of the rows."""
        values = self.values[rows] if isinstance(rows, slice) else self.values.index_select(0, rows)
        groups = None if self.groups is None else self.groups[rows]
        return Sketches(values, self.rests[rows], self.residuals[rows], groups)


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
    def fewest_centroids(self) -> int:
        """Among fewer of them a search is over as soon without."""
        return _fewest_centroids(self.is_rounded)

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


@dataclass(frozen=True, slots=True)
class WholeRows:
    """In the place of a basis: every coordinate of rows, in bfloat16.

    Nothing is left over that a bound has to allow for, but for what rounding takes. Among few centroids the product
    costs little more than to read the rows.
    """

    dimension: int

    @property
    def fewest_centroids(self) -> int:
        """See `Basis`."""
        return _FEWEST_WHOLE_CENTROIDS

    @property
    def is_rounded(self) -> bool:
        """See `Basis`."""
        return True

    @property
    def columns(self) -> int:
        """See `Basis`."""
        return self.dimension + 2

    @property
    def kind(self) -> torch.dtype:
        """See `Basis`."""
        return torch.bfloat16

    def sketches(self, rows: torch.Tensor, norms: torch.Tensor) -> Sketches:
        """See `Basis`."""
        values = torch.empty(len(rows), self.columns, dtype=self.kind)
        values[:, : self.dimension], values[:, self.dimension :] = rows, 1
        # To measure what rounding takes would cost as much as the product among few centroids.
        return Sketches(values, torch.zeros_like(norms), norms * (VALUE_ROUNDOFF * (1 + 1e-5)), None)

    def coordinates(self, rows: torch.Tensor) -> tuple[torch.Tensor, None]:
        """See `Basis`."""
        return rows, None

    def error(self, norms: torch.Tensor, largest_norm: float) -> torch.Tensor:
        """See `Basis`: bounds are of the scores themselves."""
        return torch.zeros_like(norms)


def sketch_bytes(dimension: int, device: str) -> int:
    """What the sketch of a row takes, 0 where none is made."""
    if device != "cpu" or not _is_wide(dimension, _DIRECTIONS):
        return 0
    return 16 + (2 * (sum(_ROUNDED_DIRECTIONS) + 2) if _is_rounded(dimension) else 4 * (sum(_DIRECTIONS) + 1))


def is_sketchable(n_rows: int, n_centroids: int, dimension: int, device: str) -> bool:
    """Whether a basis pays for a search of so many rows among so many centroids: only on the CPU."""
    if device != "cpu" or not _is_wide(dimension, _DIRECTIONS) or n_rows * n_centroids < _FEWEST_PAIRS:
        return False
    return n_centroids >= _fewest_centroids(_is_rounded(dimension))


def are_worth_rounding(n_rows: int, n_centroids: int, dimension: int, device: str) -> bool:
    """Whether `WholeRows` pay for a search of so many rows among so many centroids: only on the CPU."""
    large = n_centroids >= _FEWEST_WHOLE_CENTROIDS and dimension >= _FEWEST_DIMENSIONS
    return (
        device == "cpu"
        and large
        and n_rows * n_centroids >= _FEWEST_WHOLE_PAIRS
        and bfloat16_is_faster(device)
    )


def basis_for(
    n_rows: int, n_centroids: int, dimension: int, device: str, find: Callable[[], Basis]
) -> Basis | WholeRows | None:
    """Of which sketches are that pay for a search of so many rows among so many centroids; None if none do.

    Args:
        n_rows: to search for.
        n_centroids: to search among.
        dimension: of both.
        device: torch device.
        find: gives the basis, if one pays.
    """
    search = n_rows, n_centroids, dimension, device
    if is_sketchable(*search):
        return find()
    return WholeRows(dimension) if are_worth_rounding(*search) else None


def sample_for_basis(n_rows: int) -> np.ndarray:
    """Rows, evenly spread, from which to take a basis, int64 (s,)."""
    return np.unique(np.linspace(0, n_rows - 1, min(n_rows, _SAMPLE_ROWS)).astype(np.int64))


def _fewest_centroids(is_rounded: bool) -> int:
    return _FEWEST_ROUNDED_CENTROIDS if is_rounded else _FEWEST_CENTROIDS


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
