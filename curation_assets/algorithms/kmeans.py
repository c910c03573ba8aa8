"""Exact k-means: Lloyd's iterations that search again only what can have changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from curation_assets.algorithms.lloyd import Lloyd
from curation_assets.algorithms.rounded_scores import float32_accumulation
from curation_assets.algorithms.rows import Metric, Rows
from curation_assets.algorithms.seeding import choose_seeds
from curation_assets.algorithms.tiles import TiledRows, threads_for


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
    with threads_for(tiled.rows.n_rows * n_clusters * tiled.rows.dimension), float32_accumulation():
        wide_weights = None if weights is None else np.asarray(weights, dtype=np.float64)
        seeds = choose_seeds(tiled, n_clusters, rng, n_local_trials=n_local_trials, weights=wide_weights)
        search = Lloyd(tiled, tiled.take(seeds.rows).clone(), metric, seeds.nearest, wide_weights)
        return _iterate(search, max_iterations, tolerance, on_iteration)


def _iterate(
    search: Lloyd,
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
