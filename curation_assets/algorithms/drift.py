"""Drift: how far the rows of a shard are from those that a tree was fitted on.

Three figures, each about 0 for rows like the fitted ones and 1 for rows unlike them; the score is the largest. They
are measured at a level whose clusters hold many rows: a centroid of few rows lies closer to those than to others of
the same kind, which would look like drift.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RADIUS_QUANTILE = 0.99
LEAST_MEAN_CLUSTER_SIZE = 20


@dataclass(frozen=True, slots=True)
class FitDistribution:
    """Where the rows of a fit lie in their clusters."""

    n_rows: int
    mean_distance: float
    """Of the rows to their centroids."""
    radius: float
    """Distance that 99 % of the rows do not exceed."""
    mass: np.ndarray
    """float64 (k,): share of the rows in each cluster; sums to 1."""

    @classmethod
    def of(cls, distances: np.ndarray, clusters: np.ndarray, n_clusters: int) -> FitDistribution:
        """Measure fitted rows.

        Args:
            distances: float (n,), to the rows' centroids.
            clusters: int (n,).
            n_clusters: k.

        Raises:
            ValueError: if there are no rows.
        """
        if not len(distances):
            raise ValueError("distances is empty: a fit has at least one row")
        mass = np.bincount(clusters, minlength=n_clusters) / len(clusters)
        # Means in float64 do not depend on the order of shards beyond the last bits; rounding removes those.
        mean = round(float(np.mean(distances, dtype=np.float64)), 9)
        return cls(len(distances), mean, float(np.quantile(distances, RADIUS_QUANTILE)), mass)


@dataclass(frozen=True, slots=True)
class ShardDrift:
    """Drift figures of one shard."""

    n_rows: int
    mean_distance: float
    distance_shift: float
    """0 if the mean distance is the fit's, 1 if it has reached the fit's 99 % radius."""
    beyond_radius_share: float
    """Share of the rows beyond the fit's 99 % radius; 0.01 is expected."""
    mass_shift: float
    """Total variation distance of the shard's cluster mass from the fit's, beyond what chance explains."""

    @property
    def score(self) -> float:
        """The largest of the three, from 0 to 1."""
        beyond = (self.beyond_radius_share - (1 - RADIUS_QUANTILE)) / RADIUS_QUANTILE
        return float(min(1.0, max(0.0, self.distance_shift, beyond, self.mass_shift)))


def measure_drift(distances: np.ndarray, clusters: np.ndarray, fit: FitDistribution) -> ShardDrift:
    """Compare a shard's rows with those of the fit.

    Args:
        distances: float (n,), of the shard's rows to their centroids.
        clusters: int (n,).
        fit: the distribution to compare with.

    Returns:
        Figures; all 0 for a shard without rows.
    """
    n = len(distances)
    if n == 0:
        return ShardDrift(0, 0.0, 0.0, 0.0, 0.0)
    mean = float(np.mean(distances, dtype=np.float64))
    spread = fit.radius - fit.mean_distance
    shift = (mean - fit.mean_distance) / spread if spread > 0 else float(mean > fit.mean_distance)
    mass = np.bincount(clusters, minlength=len(fit.mass)) / n
    moved = 0.5 * float(np.abs(mass - fit.mass).sum())
    expected = expected_mass_shift(fit.mass, n)
    excess = max(0.0, (moved - expected) / (1 - expected)) if expected < 1 else 0.0
    return ShardDrift(n, mean, max(0.0, shift), float(np.mean(distances > fit.radius)), excess)


def expected_mass_shift(mass: np.ndarray, n_rows: int) -> float:
    """Total variation distance that n rows drawn from `mass` have by chance, on average.

    A cluster's share among n draws deviates by sqrt(2 p (1 - p) / (pi n)) on average where n p is large, and
    never by more than 2 p (1 - p) where it is small: the smaller of the two bounds it.
    """
    variance = mass * (1 - mass)
    return 0.5 * float(np.minimum(np.sqrt(2 * variance / (np.pi * n_rows)), 2 * variance).sum())


def drift_level(n_rows: int, n_clusters: Sequence[int]) -> int:
    """The lowest level whose clusters hold at least 20 fitted rows on average, else the top one (from 1)."""
    for level, k in enumerate(n_clusters, start=1):
        if n_rows >= LEAST_MEAN_CLUSTER_SIZE * k:
            return level
    return len(n_clusters)
