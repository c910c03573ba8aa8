"""Sketches: a few coordinates of rows and centroids that bound how near they can be.

For orthonormal directions V the squared distance of two points is at least that of their coordinates:
|x - c|^2 >= |V'x - V'c|^2. Two kinds of directions make that bound tight.

- The leading directions of a sample of rows: embeddings lie near a subspace, which these span.
- Random directions in what is left, d' of the d'' dimensions: they hold a share of a squared length that is hardly
  ever above a known factor. With probability 1 - 1e-15 a pair's share stays below it (Dasgupta and Gupta 2003,
  lemma 2.2), so the distance along them may be scaled up by its inverse, the `stretch`.

A product of sketches is a fifth as wide as one of rows of 384 dimensions. On data with more than one cluster it
leaves a few centroids of a hundred to be scored.

CPUs that multiply bfloat16 clearly faster take wider sketches in bfloat16: the product costs less still, and the
bounds are tighter. What rounding takes from a bound is measured and added to it. Among few centroids, or for narrow
rows, whole rows in bfloat16 take the place of sketches.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from curation_assets.algorithms.search.cpu.arithmetic import CpuArithmetic
from curation_assets.algorithms.search.rounding import (
    UNIT_ROUNDOFF,
    VALUE_ROUNDOFF,
    product_error,
    rounding_residuals,
)
from curation_assets.algorithms.threads import in_parts

_PIVOTS = 128
_ROWS_AT_ONCE = 1024
_POWER_STEPS = 3
# For a pair of a row and the very centroid that is nearest to it.
_LOG_FAILURE = math.log(1e-15)


@dataclass(frozen=True, slots=True)
class SketchKind:
    """Size of sketches, and the arithmetic of their products."""

    n_leading: int
    """Leading directions of a sample."""
    n_random: int
    """Random ones."""
    is_rounded: bool = False
    """Whether sketches are in bfloat16; otherwise in float32."""

    @property
    def n_directions(self) -> int:
        """Of both kinds."""
        return self.n_leading + self.n_random

    @property
    def columns(self) -> int:
        """Values of a sketch: coordinates, then one or (bfloat16) two terms of -|V'c|^2 / 2."""
        return self.n_directions + (2 if self.is_rounded else 1)

    @property
    def dtype(self) -> torch.dtype:
        """Of the values."""
        return torch.bfloat16 if self.is_rounded else torch.float32

    @property
    def row_bytes(self) -> int:
        """Bytes of a row in `Sketches`."""
        return 16 + (2 if self.is_rounded else 4) * self.columns


@dataclass(frozen=True, slots=True)
class Sketches:
    """Sketches of rows."""

    values: torch.Tensor
    """float32 or bfloat16 (n, columns): coordinates, then ones, which multiply the terms of -|V'c|^2 / 2."""
    rests: torch.Tensor
    """float32 (n,): (|x|^2 - |V'x|^2) / 2."""
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
    """Directions of sketches; makes the sketches of rows."""

    kind: SketchKind
    directions: torch.Tensor
    """float32 (d, q), orthogonal up to rounding: leading ones of length 1, random ones of length sqrt(stretch)."""
    stretch: float
    pivots: torch.Tensor
    """float32 (p, q): coordinates of some rows, around which the others are grouped."""
    is_kept: ClassVar[bool] = True

    @classmethod
    def of(cls, sample: torch.Tensor, kind: SketchKind) -> Basis:
        """The leading directions of a sample, by a few steps of subspace iteration, and random ones.

        Args:
            sample: float32 (s, d), d > kind.n_directions.
            kind: of the sketches.
        """
        dimension, n_leading = sample.shape[1], kind.n_leading
        # The same draw for the same width: sketches do not depend on the seed of a fit.
        draw = torch.from_numpy(np.random.default_rng(0).normal(size=(dimension, kind.n_directions)))
        products = (sample.T @ sample).double()
        leading = draw[:, :n_leading]
        # Subspace iteration: each step turns the directions towards the leading eigenvectors of sample' sample.
        for _ in range(_POWER_STEPS):
            leading = torch.linalg.qr(products @ leading)[0]
        # The random directions become orthogonal to the leading ones, and random in what is left.
        directions = torch.linalg.qr(torch.cat([leading, draw[:, n_leading:]], dim=1))[0]
        stretch = _stretch(kind.n_random, dimension - n_leading)
        directions[:, n_leading:] *= math.sqrt(stretch)
        single = directions.float()
        spread = np.linspace(0, len(sample) - 1, min(len(sample), _PIVOTS)).astype(np.int64)
        return cls(kind, single, stretch, sample[torch.from_numpy(spread)] @ single)

    def view(self, block: torch.Tensor, norms: torch.Tensor) -> Sketches:
        """Sketches of rows float32 (b, d) whose lengths are float32 (b,)."""
        values = torch.empty(len(block), self.kind.columns, dtype=self.kind.dtype)
        rests, residuals = torch.empty(len(block)), torch.zeros(len(block))
        groups = torch.empty(len(block), dtype=torch.int64)

        def fill(part: slice, coordinates: torch.Tensor, nearest: torch.Tensor) -> None:
            values[part, : coordinates.shape[1]], values[part, coordinates.shape[1] :] = coordinates, 1
            rests[part] = 0.5 * (norms[part].double().square() - CpuArithmetic().squared_lengths(coordinates))
            if self.kind.is_rounded:
                residuals[part] = rounding_residuals(coordinates)
            groups[part] = nearest

        self._project(block, fill)
        return Sketches(values, rests, residuals, groups)

    def coordinates(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Coordinates V'x float32 (b, q) of rows float32 (b, d), and the groups of similar rows int64 (b,)."""
        every = torch.empty(len(rows), self.directions.shape[1])
        groups = torch.empty(len(rows), dtype=torch.int64)

        def fill(part: slice, coordinates: torch.Tensor, nearest: torch.Tensor) -> None:
            every[part], groups[part] = coordinates, nearest

        self._project(rows, fill)
        return every, groups

    def _project(self, rows: torch.Tensor, use: Callable[[slice, torch.Tensor, torch.Tensor], None]) -> None:
        """Call `use` with each part of the rows, its coordinates and its nearest pivots."""
        halves = 0.5 * self.pivots.square().sum(dim=1)

        def project(start: int, stop: int) -> None:
            for first in range(start, stop, _ROWS_AT_ONCE):
                part = slice(first, min(first + _ROWS_AT_ONCE, stop))
                coordinates = rows[part] @ self.directions
                scores = torch.addmm(-halves, coordinates, self.pivots.T)
                # numpy: torch's argmax takes ten times as long (measured).
                use(part, coordinates, torch.from_numpy(scores.numpy().argmax(axis=1)))

        in_parts(project, len(rows), self.directions.numel())

    def error(self, norms: torch.Tensor, largest_norm: float) -> torch.Tensor:
        """Error bound of bounds of scores in float32 arithmetic, float32 (b,).

        Args:
            norms: float32 (b,): lengths of the rows.
            largest_norm: of the centroids.
        """
        # All terms are shares of (|x| + |c|)^2, which no squared distance exceeds. q coordinates that are each off by
        # product_error(d) move the length of a sketch by sqrt(q) times that; directions rounded to float32 do so by
        # their own roundoff; the product of two sketches adds its error. `stretch` scales all of them up.
        n_directions = self.directions.shape[1]
        of_coordinates = math.sqrt(n_directions) * product_error(len(self.directions))
        of_directions = 4 * math.sqrt(n_directions) * UNIT_ROUNDOFF
        of_products = 2 * product_error(self.kind.columns)
        share = self.stretch * (1.1 * of_coordinates + of_directions + of_products)
        return (norms + largest_norm).square() * (share + 2 * product_error(len(self.directions)))


@dataclass(frozen=True, slots=True)
class WholeRows:
    """Every coordinate in bfloat16, in the place of a basis: bounds then only allow for rounding."""

    dimension: int
    is_kept: ClassVar[bool] = False
    """They are made as fast as they are read."""

    @property
    def kind(self) -> SketchKind:
        """See `Basis`."""
        return SketchKind(self.dimension, 0, is_rounded=True)

    def view(self, block: torch.Tensor, norms: torch.Tensor) -> Sketches:
        """See `Basis`."""
        values = torch.empty(len(block), self.kind.columns, dtype=torch.bfloat16)
        values[:, : self.dimension], values[:, self.dimension :] = block, 1
        # Measuring what rounding takes would cost as much as the product among few centroids.
        return Sketches(values, torch.zeros_like(norms), norms * (VALUE_ROUNDOFF * (1 + 1e-5)), None)

    def coordinates(self, rows: torch.Tensor) -> tuple[torch.Tensor, None]:
        """See `Basis`."""
        return rows, None

    def error(self, norms: torch.Tensor, largest_norm: float) -> torch.Tensor:
        """See `Basis`: the bounds are the scores themselves."""
        return torch.zeros_like(norms)


@functools.cache
def _stretch(n_directions: int, dimension: int) -> float:
    """Factor by which a squared distance along random directions can be scaled up without exceeding the whole.

    The share of a squared length that lies along q of D random directions exceeds f q / D with a probability below
    exp((q ln f + (D - q) ln(1 + (1 - f) q / (D - q))) / 2), the lemma of Dasgupta and Gupta. IN: q, D.
    OUT: D / (q f) for the f at which that is 1e-15, found by bisection.
    """

    def log_probability(factor: float) -> float:
        rest = dimension - n_directions
        left = 1 + (1 - factor) * n_directions / rest
        return -math.inf if left <= 0 else (n_directions * math.log(factor) + rest * math.log(left)) / 2

    low, high = 1.0, dimension / n_directions
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if log_probability(middle) > _LOG_FAILURE else (low, middle)
    return dimension / (n_directions * high)
