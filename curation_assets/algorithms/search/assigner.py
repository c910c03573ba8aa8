"""Rows to their nearest centroids, and how far they are."""

from __future__ import annotations

import functools
import math

import numpy as np
import torch

from curation_assets.algorithms.rows import Metric
from curation_assets.algorithms.search.assignment import (
    Codebook,
    nearest,
    nearest_of_unsure,
    nearest_sketched,
    reported_distance,
    squared_distances,
)
from curation_assets.algorithms.search.cpu.sketch import Basis, Sketches, WholeRows, basis_for
from curation_assets.algorithms.search.cpu.sketched_centroids import SketchedCentroids
from curation_assets.algorithms.search.rounded_scores import (
    RoundedCentroids,
    float32_accumulation,
    rounding_residuals,
)
from curation_assets.algorithms.threads import even_size, on_threads, parts_on_threads


class Assigner:
    """Centroids made ready once, for one block of rows after another.

    Args:
        centroids: float32 (k, d).
        n_rows: how many rows will come, about.
        metric: how distances are reported.
        device: torch device.
        basis: for sketches of the rows; None takes one from the centroids, or whole rows, if it pays.
    """

    def __init__(
        self,
        centroids: np.ndarray,
        n_rows: int,
        *,
        metric: Metric,
        device: str = "cpu",
        basis: Basis | WholeRows | None = None,
    ) -> None:
        self._book, self._metric, self._device = Codebook.of(_tensor(centroids, device)), metric, device
        book = self._book
        if basis is None:
            find = functools.partial(Basis.of, book.centroids)
            basis = basis_for(n_rows, len(book.centroids), book.centroids.shape[1], device, find)
        self._basis = basis
        self._sketched = SketchedCentroids.if_worthwhile(basis, book.centroids, book.bias, book.largest_norm)
        self._n_rows = n_rows

    @functools.cached_property
    def _rounded(self) -> RoundedCentroids | None:
        book = self._book
        # A few rows are over before the centroids are rounded.
        if self._n_rows < len(book.centroids):
            return None
        return RoundedCentroids.if_worthwhile(book.centroids, book.bias, book.largest_norm)

    def assign(self, block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Nearest centroid and distance of prepared rows float32 (n, d), see `assign`."""
        rows = _tensor(block, "cpu")
        clusters = torch.empty(len(rows), dtype=torch.int64)
        distances = torch.empty(len(rows), dtype=torch.float32)

        def assign(tile: slice) -> None:
            column, distance = self.assign_tile(rows[tile].to(self._device), None)
            clusters[tile], distances[tile] = column.cpu(), distance.cpu()

        with float32_accumulation(), parts_on_threads():
            size = even_size(len(rows), self.tile_rows())
            tiles = [(slice(first, first + size),) for first in range(0, len(rows), size)]
            on_threads(assign, tiles, self._device)
        return clusters.numpy(), distances.numpy()

    def tile_rows(self) -> int:
        """Rows to assign together."""
        return (self._sketched or self._rounded or self._book).tile_rows()

    def assign_tile(self, tile: torch.Tensor, sketches: Sketches | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Nearest centroid and distance of rows that are on the device, with `float32_accumulation`.

        Args:
            tile: float32 (b, d).
            sketches: of the rows, if they are at hand.

        Returns:
            int64 (b,) and float32 (b,), on the device.
        """
        norms = torch.linalg.vector_norm(tile, dim=1)
        column = self._nearest(tile, norms, sketches)
        squared = squared_distances(tile, None, self._book.centroids, column)
        return column, reported_distance(squared, self._metric)

    def _nearest(self, tile: torch.Tensor, norms: torch.Tensor, sketches: Sketches | None) -> torch.Tensor:
        if self._sketched is not None and self._basis is not None:
            sketches = sketches or self._basis.sketches(tile, norms)
            unknown = torch.full_like(norms, -math.inf)
            found = nearest_sketched(tile, sketches, norms, self._book, self._sketched, unknown)
            if found is not None:
                return found[0]
        if self._rounded is not None:
            return _nearest_rounded(tile, norms, self._book, self._rounded)
        return nearest(tile, norms, self._book)[0]


def assign(
    block: np.ndarray, centroids: np.ndarray, *, metric: Metric, device: str = "cpu"
) -> tuple[np.ndarray, np.ndarray]:
    """Nearest centroid and distance of prepared rows.

    Args:
        block: float32 (n, d), prepared by the tree's `Preprocessing`.
        centroids: float32 (k, d).
        metric: how distances are reported.
        device: torch device.

    Returns:
        clusters int64 (n,) and distances float32 (n,).
    """
    return Assigner(centroids, len(block), metric=metric, device=device).assign(block)


def _nearest_rounded(
    tile: torch.Tensor, norms: torch.Tensor, book: Codebook, rounded: RoundedCentroids
) -> torch.Tensor:
    """The exact nearest centroids, int64 (b,): in float32 only where bfloat16 leaves it open."""
    bound, residuals = book.error_bound(norms), rounding_residuals(tile)
    column, _, others = rounded.leaders(tile, norms, residuals, torch.zeros_like(norms), bound)
    at_least = book.scores(tile, column) - 2 * bound
    unsure = torch.nonzero(others >= at_least).flatten()
    if len(unsure):
        column[unsure] = nearest_of_unsure(
            tile.index_select(0, unsure),
            norms[unsure],
            residuals[unsure],
            at_least[unsure],
            book,
            rounded,
        )
    return column


def distances_to(
    block: np.ndarray, centroids: np.ndarray, clusters: np.ndarray, *, metric: Metric, device: str = "cpu"
) -> np.ndarray:
    """Distance of prepared rows to given clusters.

    Args:
        block: float32 (n, d).
        centroids: float32 (k, d).
        clusters: int64 (n,).
        metric: how distances are reported.
        device: torch device.

    Returns:
        float32 (n,).
    """
    squared = squared_distances(
        _tensor(block, device), None, _tensor(centroids, device), torch.tensor(clusters, device=device)
    )
    return reported_distance(squared, metric).cpu().numpy()


def _tensor(array: np.ndarray, device: str) -> torch.Tensor:
    # A memory map is read-only, which torch tensors cannot be: it is copied, anything else is not.
    return torch.from_numpy(np.require(array, dtype=np.float32, requirements=["C", "W"])).to(device)
