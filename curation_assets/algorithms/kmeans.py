"""Exact k-means: Lloyd's iterations that search again only what can have changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from curation_assets.algorithms.assignment import (
    Codebook,
    nearest,
    reported_distance,
    squared_distances,
    tile_rows,
    top_two,
)
from curation_assets.algorithms.rows import Metric, Rows
from curation_assets.algorithms.seeding import choose_seeds
from curation_assets.algorithms.tiles import TiledRows, threads_for

# Where more than this share of the centroids moved, one full search is cheaper than a partial one.
_FULL_SEARCH_SHARE = 0.8


@dataclass(frozen=True, slots=True)
class Iteration:
    """One Lloyd iteration, for progress and plots."""

    number: int
    inertia: float
    n_reassigned: int


@dataclass(frozen=True, slots=True)
class KMeansFit:
    """Result of one k-means."""

    centroids: np.ndarray
    """float32 (k, d); unit rows for cosine. A cluster that lost all its rows keeps its centroid."""
    assignments: np.ndarray
    """int64 (n,): the exact nearest centroid, the lowest index among equally near ones."""
    distances: np.ndarray
    """float32 (n,): 1 - cos for cosine, Euclidean for l2."""
    inertias: tuple[float, ...]
    """Sum of squared Euclidean distances to the clusters' best centroids, after each iteration."""

    @property
    def sizes(self) -> np.ndarray:
        """Rows of each cluster, int64 (k,)."""
        return np.bincount(self.assignments, minlength=len(self.centroids))


def fit_kmeans(
    rows: Rows | TiledRows,
    n_clusters: int,
    *,
    metric: Metric,
    rng: np.random.Generator,
    max_iterations: int = 50,
    tolerance: float = 1e-4,
    n_local_trials: int | Literal["auto"] = "auto",
    weights: np.ndarray | None = None,
    device: str = "cpu",
    on_iteration: Callable[[Iteration], None] | None = None,
) -> KMeansFit:
    """k-means++ seeds, then Lloyd's iterations until nothing moves.

    Assignments are exact and sums of prepared rows are exact in float64, so the result does not depend on
    chunk sizes, threads or the device.

    Args:
        rows: prepared inputs (see `preprocessing`).
        n_clusters: k, at most the number of rows.
        metric: 'cosine' keeps centroids at unit length (spherical k-means), 'l2' takes plain means.
        rng: source of the seeds.
        max_iterations: at most this many updates of the centroids.
        tolerance: stop when the inertia falls by less than this share in one iteration.
        n_local_trials: see `kmeans_plus_plus`.
        weights: (n,) whole numbers >= 1: a row counts as so many copies of it; None counts each once.
        device: torch device.
        on_iteration: called after each iteration.

    Returns:
        The fit. Memory: 24 bytes a row and 20 bytes a centroid value, beside the rows themselves (resident up
        to 2 GiB, else streamed).

    Raises:
        ValueError: if n_clusters is not between 1 and the number of rows.
    """
    tiled = rows if isinstance(rows, TiledRows) else TiledRows(rows, device)
    with threads_for(tiled.rows.n_rows * n_clusters * tiled.rows.dimension):
        wide_weights = None if weights is None else np.asarray(weights, dtype=np.float64)
        seeds = choose_seeds(tiled, n_clusters, rng, n_local_trials=n_local_trials, weights=wide_weights)
        search = _Lloyd(tiled, tiled.take(seeds.rows).clone(), metric, seeds.nearest, wide_weights)
        return _iterate(search, max_iterations, tolerance, on_iteration)


def _iterate(
    search: _Lloyd,
    max_iterations: int,
    tolerance: float,
    on_iteration: Callable[[Iteration], None] | None,
) -> KMeansFit:
    inertias: list[float] = []
    for number in range(1, max_iterations + 1):
        search.update_centroids()
        n_reassigned = search.reassign()
        inertias.append(search.inertia())
        if on_iteration:
            on_iteration(Iteration(number, inertias[-1], n_reassigned))
        if n_reassigned == 0 or (number > 1 and inertias[-2] - inertias[-1] <= tolerance * inertias[-2]):
            break
    assignments, distances = search.result()
    return KMeansFit(search.book.centroids.cpu().numpy(), assignments, distances, tuple(inertias))


class _Lloyd:
    """Assignments, exact sums and centroids of one fit, kept consistent with each other."""

    def __init__(
        self,
        tiled: TiledRows,
        centroids: torch.Tensor,
        metric: Metric,
        clusters: np.ndarray | None = None,
        weights: np.ndarray | None = None,
    ) -> None:
        k, dimension = centroids.shape
        self._tiled, self._metric = tiled, metric
        self.book = Codebook.of(centroids)
        self._sums = torch.zeros(k, dimension, dtype=torch.float64, device=centroids.device)
        self._counts = torch.zeros(k, dtype=torch.float64, device=centroids.device)
        self._squared_length = 0.0
        self._dirty = torch.ones(k, dtype=torch.bool, device=centroids.device)
        self._moved = self._dirty.clone()
        n_rows = tiled.rows.n_rows
        self._clusters = torch.zeros(n_rows, dtype=torch.int64, device=centroids.device)
        # Score of each row's own cluster, and one that no other cluster exceeds. Until the first full search
        # nothing is known: no score beats infinity.
        self._scores = torch.zeros(n_rows, dtype=torch.float32, device=centroids.device)
        self._rivals = torch.full_like(self._scores, torch.inf)
        self._norms = tiled.norms()
        ones = torch.ones(n_rows, dtype=torch.float64, device=centroids.device)
        self._weights = ones if weights is None else torch.from_numpy(weights).to(centroids.device)
        for start, block in tiled.tiles(tile_rows(k)):
            tile = slice(start, start + len(block))
            if clusters is not None:
                self._clusters[tile] = torch.from_numpy(clusters[tile]).to(centroids.device)
            else:
                self._search(block, tile)
            wide, mass = block.double(), self._weights[tile]
            self._sums.index_add_(0, self._clusters[tile], wide * mass[:, None])
            self._squared_length += float(mass @ wide.square_().sum(dim=1))
        self._is_searched = clusters is None
        self._counts.index_add_(0, self._clusters, self._weights)

    def update_centroids(self) -> None:
        """Move the centroids of clusters that gained or lost a row."""
        changed = torch.nonzero(self._dirty & (self._counts > 0)).flatten()
        means = self._sums[changed] / self._counts[changed, None]
        if self._metric == "cosine":
            lengths = torch.linalg.vector_norm(means, dim=1)
            # Rows that cancel out have no direction: their centroid stays where it was.
            changed, means = changed[lengths > 0], means[lengths > 0] / lengths[lengths > 0, None]
        centroids = self.book.centroids.clone()
        centroids[changed] = means.float()
        self._moved = (centroids != self.book.centroids).any(dim=1)
        self.book = Codebook.of(centroids)

    def reassign(self) -> int:
        """Find every row's nearest centroid again; returns how many rows changed cluster."""
        moved = torch.nonzero(self._moved).flatten()
        self._dirty.zero_()
        if not len(moved):
            return 0
        partial = self._is_searched and len(moved) <= _FULL_SEARCH_SHARE * len(self._moved)
        columns = (self.book.centroids[moved], self.book.bias[moved]) if partial else None
        n_reassigned = 0
        for start, block in self._tiled.tiles(tile_rows(len(moved))):
            tile = slice(start, start + len(block))
            before = self._clusters[tile].clone()
            if columns is None:
                self._search(block, tile)
            else:
                self._search_moved(block, tile, moved, *columns)
            after = self._clusters[tile]
            rows = torch.nonzero(after != before).flatten()
            if len(rows):
                mass = self._weights[start + rows]
                self._transfer(block[rows].double() * mass[:, None], mass, before[rows], after[rows])
                n_reassigned += len(rows)
        self._is_searched = True
        return n_reassigned

    def _search(self, block: torch.Tensor, tile: slice) -> None:
        """Search every centroid."""
        found = nearest(block, self._norms[tile], self.book)
        self._clusters[tile], self._scores[tile], self._rivals[tile] = found

    def _search_moved(
        self,
        block: torch.Tensor,
        tile: slice,
        moved: torch.Tensor,
        centroids: torch.Tensor,
        bias: torch.Tensor,
    ) -> None:
        """Search the centroids that moved; only rows that these leave open are searched in full.

        A centroid that stayed still scores no more than the row's rival did, and a moved one was just searched.
        So the better of the row's own cluster (if it stayed) and the best moved one is the nearest of all, if
        it clearly beats the other, the second-best moved one and the old rival.
        """
        clusters, rivals = self._clusters[tile], self._rivals[tile]
        bound = self.book.error_bound(self._norms[tile])
        own = torch.where(self._moved[clusters], -torch.inf, self._scores[tile])
        best, column, second = top_two(block, centroids, bias, own - 2 * bound)
        stays = own >= best
        scores = torch.maximum(own, best)
        rivals = torch.maximum(torch.where(stays, best, torch.maximum(own, second)), rivals)
        self._clusters[tile] = torch.where(stays, clusters, moved[column])
        self._scores[tile], self._rivals[tile] = scores, rivals
        open_rows = torch.nonzero(scores <= rivals + 2 * bound).flatten()
        if len(open_rows):
            found = nearest(block[open_rows], self._norms[tile][open_rows], self.book)
            rows = tile.start + open_rows
            self._clusters[rows], self._scores[rows], self._rivals[rows] = found

    def _transfer(
        self, weighted: torch.Tensor, mass: torch.Tensor, before: torch.Tensor, after: torch.Tensor
    ) -> None:
        self._sums.index_add_(0, before, weighted, alpha=-1)
        self._sums.index_add_(0, after, weighted)
        self._counts.index_add_(0, before, mass, alpha=-1)
        self._counts.index_add_(0, after, mass)
        self._dirty[before] = True
        self._dirty[after] = True

    def inertia(self) -> float:
        """Inertia of the assignments around their own best centroids, from the exact sums."""
        lengths = self._sums.square().sum(dim=1)
        if self._metric == "cosine":
            gain = 2 * lengths.sqrt() - self._counts
        else:
            gain = lengths / self._counts.clamp(min=1)
        return max(0.0, self._squared_length - float(gain.sum()))

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """Assignments int64 (n,) and distances float32 (n,)."""
        distances = torch.empty(len(self._clusters), dtype=torch.float32)
        for start, block in self._tiled.tiles(4096):
            tile = slice(start, start + len(block))
            squared = squared_distances(block, None, self.book.centroids, self._clusters[tile])
            distances[tile] = reported_distance(squared, self._metric).cpu()
        return self._clusters.cpu().numpy(), distances.numpy()
