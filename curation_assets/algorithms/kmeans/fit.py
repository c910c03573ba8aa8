"""Exact k-means: Lloyd's iterations that search again only what can have changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from curation_assets.algorithms.kmeans.inputs import FitInputs
from curation_assets.algorithms.kmeans.seeding import choose_seeds
from curation_assets.algorithms.kmeans.tiles import TiledRows
from curation_assets.algorithms.rows import Rows
from curation_assets.algorithms.settings import DEFAULT_MAX_ITERATIONS, DEFAULT_TOLERANCE, Metric
from curation_assets.algorithms.threads import parts_on_threads


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


@dataclass(frozen=True, slots=True)
class FitState:
    """State of a fit after some iterations: all it takes to resume."""

    centroids: np.ndarray
    """float32 (k, d)."""
    inertias: tuple[float, ...]
    """After each iteration so far."""
    n_reassigned: int
    """Rows that changed cluster in the last one."""


class Checkpoints(Protocol):
    """Where the states of one fit are kept."""

    def last(self) -> FitState | None:
        """The last state that was kept."""

    def keep(self, state: FitState) -> None:
        """Keep a state, if enough work was done since the last one."""


def fit_kmeans(
    rows: Rows | TiledRows,
    n_clusters: int,
    *,
    metric: Metric,
    rng: np.random.Generator,
    max_iterations: int = DEFAULT_MAX_ITERATIONS,
    tolerance: float = DEFAULT_TOLERANCE,
    n_local_trials: int | Literal["auto"] = "auto",
    weights: np.ndarray | None = None,
    device: str = "cpu",
    on_iteration: Callable[[Iteration], None] | None = None,
) -> KMeansFit:
    """k-means++ seeds, then Lloyd's iterations until nothing moves, all in this process.

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
        weights: (n,) whole numbers >= 1: how many times each row counts; None counts each once.
        device: torch device.
        on_iteration: called after each iteration.

    Returns:
        The fit. Memory: 24 bytes a row and 40 bytes a centroid value, beside the rows themselves (resident with
        their sketches up to 2 GiB, else streamed).

    Raises:
        ValueError: if n_clusters is not between 1 and the number of rows.
    """
    inputs = FitInputs.in_process(rows, metric, device=device)
    if weights is not None:
        inputs.select(None, weights)
    fit = fit_inputs(
        inputs,
        n_clusters,
        rng=rng,
        max_iterations=max_iterations,
        tolerance=tolerance,
        n_local_trials=n_local_trials,
        on_iteration=on_iteration,
    )
    return KMeansFit(fit.centroids, *inputs.result(), fit.inertias)


def fit_inputs(
    inputs: FitInputs,
    n_clusters: int,
    *,
    rng: np.random.Generator,
    max_iterations: int = DEFAULT_MAX_ITERATIONS,
    tolerance: float = DEFAULT_TOLERANCE,
    n_local_trials: int | Literal["auto"] = "auto",
    on_iteration: Callable[[Iteration], None] | None = None,
    checkpoints: Checkpoints | None = None,
) -> FitState:
    """`fit_kmeans` on the selected rows of a fit; the last state is the same for any number of workers.

    Assignments stay with the workers of `inputs`, see `FitInputs.result`. `checkpoints` keeps the state after an
    iteration, and a fit resumes from its last one. All other arguments and errors are those of `fit_kmeans`.
    """
    with parts_on_threads(inputs.n_rows * n_clusters * inputs.dimension):
        state = checkpoints.last() if checkpoints else None
        if state is None:
            seeds = choose_seeds(inputs, n_clusters, rng, n_local_trials=n_local_trials)
            sums = inputs.begin(seeds.points, at_seeds=seeds.nearest_known)
            state = FitState(seeds.points, (), inputs.n_rows)
            if checkpoints:
                checkpoints.keep(state)
        else:
            sums = inputs.begin(state.centroids, at_seeds=False)
        inertias, n_reassigned = list(state.inertias), state.n_reassigned
        while len(inertias) < max_iterations and not is_settled(inertias, n_reassigned, tolerance):
            n_reassigned = inputs.step(sums)
            inertias.append(sums.inertia())
            if on_iteration:
                on_iteration(Iteration(len(inertias), inertias[-1], n_reassigned))
            if checkpoints:
                checkpoints.keep(FitState(sums.centroids, tuple(inertias), n_reassigned))
    return FitState(sums.centroids, tuple(inertias), n_reassigned)


def is_settled(inertias: list[float], n_reassigned: int, tolerance: float) -> bool:
    """Whether a fit ends: nothing moved in its last iteration, or the inertia fell by too small a share.

    Args:
        inertias: after each iteration so far.
        n_reassigned: rows that changed cluster in the last one.
        tolerance: see `fit_kmeans`.
    """
    if not inertias:
        return False
    falls = len(inertias) < 2 or inertias[-2] - inertias[-1] > tolerance * inertias[-2]
    return n_reassigned == 0 or not falls
