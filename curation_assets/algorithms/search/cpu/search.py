"""The CPU's search: bounds by sketches or whole rows in bfloat16, and scores of what they leave open."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass

import torch

from curation_assets.algorithms.search.base import Found, NearestCentroids, SearchedRows
from curation_assets.algorithms.search.codebook import TILE_BYTES, Codebook
from curation_assets.algorithms.search.cpu.arithmetic import CpuArithmetic
from curation_assets.algorithms.search.cpu.bounded_search import Answers, RowLimits
from curation_assets.algorithms.search.cpu.kernels import search_all, search_bounded
from curation_assets.algorithms.search.cpu.sketch import Basis, Sketches, WholeRows
from curation_assets.algorithms.search.rounding import (
    PRODUCT_ROUNDOFF,
    TWO_TERM_ROUNDOFF,
    rounding_error,
    rounding_residuals,
    two_terms,
)
from curation_assets.algorithms.threads import in_parts

LARGEST_NORM = 1e18
"""Of centroids that can be sketched."""
# Share of the rows so far that may be scored against all centroids before sketches are given up.
_MOST_LEFT = 0.7
# Bounds of some rows, which should stay in the cache.
_BOUNDS_BYTES = 2 * 2**20
# Columns of bounds come in multiples of whole vectors of the CPU.
_COLUMNS = 32
_NO_SCORE = -3e38


class CpuCentroids(NearestCentroids):
    """Scores all centroids, or with a viewer those that the bounds leave open.

    Where bounds from sketches rule out too little, as they do where rows do not cluster, those from whole rows take
    their place, and after those the scores of all.

    Args:
        book: the centroids.
        viewer: of the rows and centroids; None scores all.
    """

    def __init__(self, book: Codebook, viewer: Basis | WholeRows | None = None) -> None:
        self.book, self.viewer = book, viewer
        self._sketched = None if viewer is None else SketchedCentroids.of(book, viewer)
        self._n_searched = self._n_left = 0
        self._lock = threading.Lock()

    def tile_rows(self) -> int:
        """See `NearestCentroids`."""
        if self.viewer is None:
            return self.book.tile_rows()
        return max(256, TILE_BYTES // (4 * self.book.centroids.shape[1]))

    @property
    def current_viewer(self) -> Basis | WholeRows | None:
        """What bounds come from at present; None where all centroids are scored."""
        sketched = self._sketched
        return None if sketched is None else sketched.viewer

    def leading(self, rows: SearchedRows, *, runner_up: bool = False) -> Found:
        """See `NearestCentroids`."""
        at_least = torch.full_like(rows.norms, -math.inf) if rows.at_least is None else rows.at_least
        sketched = self._sketched
        if sketched is None:
            return Found(*search_all(rows.tensor, self.book, at_least, rows.left_out))
        found = sketched.search(rows, at_least, runner_up=runner_up)
        left = torch.nonzero(found.column < 0).flatten()
        if len(left):
            left_out = None if rows.left_out is None else rows.left_out[left]
            found.column[left], found.score[left], found.others[left] = search_all(
                rows.tensor.index_select(0, left), self.book, at_least[left], left_out
            )
        self._count(sketched, len(rows), len(left))
        return found

    def _count(self, sketched: SketchedCentroids, n_searched: int, n_left: int) -> None:
        """Change to the next kind of bounds if this one has left too many rows to be scored against all centroids."""
        with self._lock:
            if self._sketched is not sketched:
                return
            self._n_searched, self._n_left = self._n_searched + n_searched, self._n_left + n_left
            if self._n_left > _MOST_LEFT * self._n_searched:
                self._sketched, self._n_searched, self._n_left = None, 0, 0
                if isinstance(sketched.viewer, Basis) and sketched.viewer.kind.is_rounded:
                    whole = WholeRows(self.book.centroids.shape[1])
                    self._sketched = SketchedCentroids.of(self.book, whole)


@dataclass(frozen=True, slots=True)
class SketchedCentroids:
    """Centroids with their sketches, similar ones next to each other: what stays open then lies close together."""

    viewer: Basis | WholeRows
    book: Codebook
    """The centroids, in this order."""
    numbers: torch.Tensor | None
    """int64 (m,): their numbers in the caller's order; None if that is the same."""
    positions: torch.Tensor | None
    """int64 (m,): where each of the caller's is in this order."""
    sketches: torch.Tensor
    """float32 or bfloat16 (m rounded up, columns): V'c and -|V'c|^2 / 2; the last ones are infinitely far."""
    residual: float
    """Largest length of what rounding took from the coordinates."""
    largest_length: float
    """Of the coordinates."""

    @classmethod
    def of(cls, book: Codebook, viewer: Basis | WholeRows) -> SketchedCentroids:
        """The sketches of centroids."""
        coordinates, groups = viewer.coordinates(book.centroids)
        numbers = positions = None
        if groups is not None:
            numbers = torch.argsort(groups, stable=True)
            positions = torch.argsort(numbers)
            book, coordinates = book[numbers], coordinates.index_select(0, numbers)
        squared = CpuArithmetic().squared_lengths(coordinates)
        halves, kind, width = (-0.5 * squared).float(), viewer.kind, coordinates.shape[1]
        sketches = torch.zeros(-(-len(book) // _COLUMNS) * _COLUMNS, kind.columns, dtype=kind.dtype)
        here, residual = sketches[: len(book)], 0.0
        here[:, :width] = coordinates
        sketches[len(book) :, width] = _NO_SCORE
        if kind.is_rounded:
            here[:, width], here[:, width + 1] = two_terms(halves)
            residual = float(rounding_residuals(coordinates).max())
        else:
            here[:, width] = halves
        return cls(viewer, book, numbers, positions, sketches, residual, math.sqrt(float(squared.max())))

    def search(self, rows: SearchedRows, at_least: torch.Tensor, *, runner_up: bool) -> Found:
        """`NearestCentroids.leading`; the column is -1 where the bounds leave most centroids open."""
        n_rows, is_rounded = len(rows), self.viewer.kind.is_rounded
        sketches = rows.view
        # A view made for another kind of bounds does not fit.
        if not isinstance(sketches, Sketches) or sketches.values.shape[1] != self.sketches.shape[1]:
            sketches = self.viewer.view(rows.tensor, rows.norms)
        limits, order = self._limits(rows, at_least, sketches), _order(sketches, at_least)
        column = torch.zeros(n_rows, dtype=torch.int64)
        score, others = torch.empty(n_rows), torch.empty(n_rows)
        answers = Answers(*(tensor.numpy() for tensor in (column, score, others)))
        at_once = max(64, _BOUNDS_BYTES // (self.sketches.element_size() * len(self.sketches)))

        def search_part(start: int, stop: int) -> None:
            numbers = torch.arange(start, stop) if order is None else order[start:stop]
            values = sketches.values
            values = values[start:stop] if order is None else values.index_select(0, numbers)
            bounds = torch.empty(min(at_once, len(numbers)), len(self.sketches), dtype=values.dtype)
            for first in range(0, len(numbers), at_once):
                mine = numbers[first : first + at_once]
                here = torch.mm(values[first : first + at_once], self.sketches.T, out=bounds[: len(mine)])
                search_bounded(
                    rows.tensor, mine, here, self.book, limits, answers,
                    runner_up=runner_up, roundoff=PRODUCT_ROUNDOFF if is_rounded else 0.0,
                )  # fmt: skip

        in_parts(search_part, n_rows, self.sketches.numel())
        if self.numbers is not None:
            column = torch.where(column < 0, column, self.numbers[column.clamp(min=0)])
        return Found(column, score, others)

    def _limits(self, rows: SearchedRows, at_least: torch.Tensor, sketches: Sketches) -> RowLimits:
        """What the search knows of each row.

        x.c - |c|^2 / 2 = (|x|^2 - |x - c|^2) / 2 <= (|x|^2 - |V'x - V'c|^2) / 2
                        = V'x.V'c - |V'c|^2 / 2 + (|x|^2 - |V'x|^2) / 2
        The first two terms are the product of the sketches, the last one is `rests`. OUT: `above` is what makes the
        computed product a bound of the computed score: `rests` and the errors of both.
        """
        bound = self.book.error_bound(rows.norms)
        slack = 2 * bound
        above = sketches.rests + self.viewer.error(rows.norms, self.book.largest_norm) + slack
        if self.viewer.kind.is_rounded:
            above += self.rounding_error(sketches, rows.norms, bound)
        own, left_out = rows.own, rows.left_out
        if own is None:
            own = torch.full_like(at_least, -math.inf)
        if left_out is None:
            left_out = torch.full((len(rows),), -1)
        elif self.positions is not None:
            left_out = torch.where(left_out < 0, left_out, self.positions[left_out.clamp(min=0)])
        return RowLimits(*(tensor.numpy() for tensor in (at_least, above, slack, own, left_out)))

    def rounding_error(self, sketches: Sketches, norms: torch.Tensor, bound: torch.Tensor) -> torch.Tensor:
        """What rounding sketches to bfloat16 may take from a bound, float32 (b,).

        Args:
            sketches: of the rows.
            norms: float32 (b,): lengths of the rows.
            bound: float32 (b,): error bound of float32 scores.
        """
        # Length of the coordinates, |V'x|^2 = |x|^2 - 2 rests, up to rounding.
        lengths = (norms.square() * (1 + 1e-5) - 2 * sketches.rests).clamp(min=0).sqrt()
        of_constants = TWO_TERM_ROUNDOFF * self.largest_length**2
        largest = self.largest_length, self.residual
        return rounding_error(lengths, sketches.residuals, *largest, of_constants) + bound


def _order(sketches: Sketches, at_least: torch.Tensor) -> torch.Tensor | None:
    """Similar rows with as much to rule out next to each other, int64 (b,): four at a time share what is scored."""
    if sketches.groups is None:
        return None
    by_score = torch.argsort(at_least)
    return by_score[torch.argsort(sketches.groups[by_score], stable=True)]
