"""The choice of a search: the only place that decides how nearest centroids are found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from curation_assets.algorithms.search.base import NearestCentroids
from curation_assets.algorithms.search.codebook import MOST_CENTROIDS, Codebook
from curation_assets.algorithms.search.cpu.search import LARGEST_NORM, CpuCentroids
from curation_assets.algorithms.search.cpu.sketch import Basis, SketchKind, WholeRows
from curation_assets.algorithms.search.cuda import rounding as cuda_rounding
from curation_assets.algorithms.search.cuda.search import CudaCentroids
from curation_assets.algorithms.search.kind import Kind, kind_of
from curation_assets.algorithms.search.parts import CentroidsInParts
from curation_assets.algorithms.search.plain.search import PlainCentroids
from curation_assets.algorithms.search.rounding import bfloat16_is_faster

RowBasis = Basis
"""What the searches of a fit share about its rows."""
_SAMPLE_ROWS = 2048
_SKETCHES, _ROUNDED_SKETCHES = SketchKind(32, 48), SketchKind(48, 48, is_rounded=True)


@dataclass(frozen=True, slots=True)
class Choice:
    """From which size on each way to search pays, as measured on CPUs (docs/design/nearest_centroids.md).

    Tests hand in other values: results are the same.
    """

    is_plain: bool = False
    """Search by the reference."""
    is_rounded: bool | None = None
    """Whether products in bfloat16 are faster; None measures it."""
    directions: SketchKind = _SKETCHES
    """Of sketches in float32."""
    rounded_directions: SketchKind = _ROUNDED_SKETCHES
    """Of sketches in bfloat16."""
    narrowest: float = 2
    """Sketches pay for rows at least as many times as wide as sketches have directions."""
    fewest_sketched: int = 128
    """Centroids from which sketches in float32 pay."""
    fewest_rounded: int = 256
    """Centroids from which sketches in bfloat16 pay: with fewer, whole rows in bfloat16 do."""
    fewest_pairs: int = 500_000
    """Rows times centroids from which sketches pay for their basis."""
    fewest_rows: int = 512
    """Rows for which anything but scoring all pays."""
    fewest_dimensions: int = 8
    """Dimensions from which whole rows in bfloat16 pay."""
    fewest_values: int = 10_000
    """Centroids times dimensions from which they do."""
    fewest_whole_pairs: int = 100_000
    """Rows times centroids from which they do."""

    def kind_for(self, device: torch.device) -> Kind:
        """The implementation that searches on a device."""
        return Kind.PLAIN if self.is_plain else kind_of(device)

    def rounds(self) -> bool:
        """Whether products in bfloat16 are taken."""
        return bfloat16_is_faster("cpu") if self.is_rounded is None else self.is_rounded

    def sketch(self, dimension: int) -> SketchKind | None:
        """The directions of sketches of rows of some dimension; None if rows are too narrow."""
        if self.rounds() and dimension >= self.narrowest * self.rounded_directions.n_directions:
            return self.rounded_directions
        return self.directions if dimension >= self.narrowest * self.directions.n_directions else None

    def pays_for_sketches(self, n_rows: int, n_centroids: int, kind: SketchKind) -> bool:
        """Whether a search has enough rows and centroids for sketches."""
        fewest = self.fewest_rounded if kind.is_rounded else self.fewest_sketched
        return (
            n_centroids >= fewest and n_rows >= self.fewest_rows and n_rows * n_centroids >= self.fewest_pairs
        )

    def pays_for_whole_rows(self, n_rows: int, n_centroids: int, dimension: int) -> bool:
        """Whether a search has enough of everything for whole rows in bfloat16."""
        return (
            dimension >= self.fewest_dimensions
            and n_centroids * dimension >= self.fewest_values
            and n_rows >= self.fewest_rows
            and n_rows * n_centroids >= self.fewest_whole_pairs
            and self.rounds()
        )


MEASURED = Choice()


def nearest_centroids(
    book: Codebook,
    n_rows: int,
    *,
    basis: Callable[[], RowBasis] | None = None,
    like: NearestCentroids | None = None,
    choice: Choice | None = None,
) -> NearestCentroids:
    """A search among centroids, on the device that they are on.

    Args:
        book: the centroids.
        n_rows: rows that will be searched for, about.
        basis: gives the `row_basis` of the rows; None takes one of the centroids.
        like: a search among some of the centroids whose way to take, for the few rows that it leaves open.
        choice: None takes what was measured.
    """
    choice = choice or MEASURED
    kind = choice.kind_for(book.centroids.device)
    if kind is Kind.CUDA and _pays_for_kernels(book, n_rows):
        return CudaCentroids(book)
    if kind is not Kind.CPU:
        return _in_parts(book, PlainCentroids)
    if like is None:
        viewer = _viewer(book, n_rows, basis, choice)
    else:
        viewer = like.viewer if isinstance(like.viewer, Basis | WholeRows) else None
    return _in_parts(book, lambda part: CpuCentroids(part, viewer))


def _pays_for_kernels(book: Codebook, n_rows: int) -> bool:
    """Whether centroids are short enough for float16, and scores too many for a single tile of the plain search."""
    return book.largest_norm < cuda_rounding.LARGEST_NORM and n_rows > book.tile_rows()


def _in_parts(book: Codebook, search: Callable[[Codebook], NearestCentroids]) -> NearestCentroids:
    if len(book) <= MOST_CENTROIDS:
        return search(book)
    return CentroidsInParts(book, search)


def _viewer(
    book: Codebook, n_rows: int, basis: Callable[[], RowBasis] | None, choice: Choice
) -> Basis | WholeRows | None:
    (n_centroids, dimension) = book.centroids.shape
    # Squares of longer ones leave the range of bfloat16, and of float32.
    if book.largest_norm >= LARGEST_NORM:
        return None
    directions = choice.sketch(dimension)
    if directions is not None and choice.pays_for_sketches(n_rows, n_centroids, directions):
        return Basis.of(book.centroids, directions) if basis is None else basis()
    return WholeRows(dimension) if choice.pays_for_whole_rows(n_rows, n_centroids, dimension) else None


def row_basis(
    n_rows: int, take: Callable[[np.ndarray], torch.Tensor], dimension: int, choice: Choice | None = None
) -> RowBasis:
    """The basis for sketches of rows, from a sample of them that is evenly spread.

    Args:
        n_rows: rows.
        take: gives rows by number, int64 (s,) -> float32 (s, d).
        dimension: their width.
        choice: None takes what was measured.

    Raises:
        ValueError: if rows are too narrow for sketches.
    """
    directions = (choice or MEASURED).sketch(dimension)
    if directions is None:
        raise ValueError(f"rows of {dimension} dimensions are too narrow for sketches")
    numbers = np.linspace(0, n_rows - 1, min(n_rows, _SAMPLE_ROWS)).astype(np.int64)
    return Basis.of(take(np.unique(numbers)), directions)


def holds_stored(device: str, choice: Choice | None = None) -> bool:
    """Whether rows are held on a device as they are stored, if that is float16: its implementation prepares them."""
    return (choice or MEASURED).kind_for(torch.device(device)) is Kind.CUDA


def view_bytes(dimension: int, device: str, choice: Choice | None = None) -> int:
    """Bytes of what is kept of a row from one search to the next."""
    choice = choice or MEASURED
    kind = choice.kind_for(torch.device(device))
    if kind is Kind.CUDA:
        return cuda_rounding.row_bytes(dimension)
    directions = choice.sketch(dimension) if kind is Kind.CPU else None
    return 0 if directions is None else directions.row_bytes
