"""Centroids with their sketches: the bounds of what rows score against them, and the search that follows from those."""

from __future__ import annotations

import math

import torch

from curation_assets.algorithms.search.cpu.kernels import search_all, search_bounded, squared_lengths
from curation_assets.algorithms.search.cpu.sketch import Basis, Sketches, WholeRows
from curation_assets.algorithms.search.rounded_scores import (
    PRODUCT_ROUNDOFF,
    TWO_TERM_ROUNDOFF,
    rounding_error,
    rounding_residuals,
    two_terms,
)
from curation_assets.algorithms.threads import in_parts

# With more of them the bounds of 64 rows take 16 MiB a thread.
_MOST_CENTROIDS = 65_536
# Share of the rows so far that may need a product with all centroids before sketches are given up.
_MOST_LEFT = 0.7
# Of rows that are searched for together, and of bounds of some of them, which should stay in the cache.
_TILE_BYTES, _BOUNDS_BYTES = 8 * 2**20, 2 * 2**20
# Columns of bounds come in multiples of so many: whole vectors of the processor.
_COLUMNS = 32
_LARGEST_VALUE = 1e18
_NO_SCORE = -3e38


class SketchedCentroids:
    """Centroids with their sketches, to search among.

    Args:
        basis: of the sketches, of the rows too.
        centroids: float32 (m, d).
        bias: float32 (m,), see `Codebook`.
        largest_norm: of the centroids.
    """

    def __init__(
        self, basis: Basis | WholeRows, centroids: torch.Tensor, bias: torch.Tensor, largest_norm: float
    ) -> None:
        self._basis, self._largest_norm = basis, largest_norm
        # Centroids that resemble each other in a row: what is not ruled out then lies close together.
        coordinates, groups = basis.coordinates(centroids)
        self._centroids, self._bias, self._numbers = centroids, bias, torch.arange(len(centroids))
        self._positions = self._numbers
        if groups is not None:
            self._numbers = torch.argsort(groups, stable=True)
            self._positions = torch.argsort(self._numbers)
            self._centroids, self._bias = centroids.index_select(0, self._numbers), bias[self._numbers]
            coordinates = coordinates.index_select(0, self._numbers)
        squared = squared_lengths(coordinates)
        halves = (-0.5 * squared).float()
        # The last columns are of centroids that are infinitely far.
        self._sketches = torch.zeros(
            -(-len(centroids) // _COLUMNS) * _COLUMNS, basis.columns, dtype=basis.kind
        )
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
        cls, basis: Basis | WholeRows | None, centroids: torch.Tensor, bias: torch.Tensor, largest_norm: float
    ) -> SketchedCentroids | None:
        """The centroids with their sketches, or None where there is no basis or they are too few."""
        if basis is None or len(centroids) > _MOST_CENTROIDS or largest_norm >= _LARGEST_VALUE:
            return None
        if len(centroids) < basis.fewest_centroids:
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
        rows_at_once = max(64, _BOUNDS_BYTES // (self._sketches.element_size() * len(self._sketches)))
        order, values = torch.arange(n_rows), sketches.values
        if sketches.groups is not None:
            # Rows that resemble each other, and have as much to rule out, in a row.
            by_score = torch.argsort(at_least)
            order = by_score[torch.argsort(sketches.groups[by_score], stable=True)]

        def search_part(start: int, stop: int) -> None:
            part = order[start:stop]
            of_part = values[start:stop] if sketches.groups is None else values.index_select(0, part)
            bounds = torch.empty(min(rows_at_once, len(part)), len(self._sketches), dtype=values.dtype)
            for first in range(0, len(part), rows_at_once):
                rows = part[first : first + rows_at_once]
                here = slice(len(rows))
                torch.mm(of_part[first : first + rows_at_once], self._sketches.T, out=bounds[here])
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
