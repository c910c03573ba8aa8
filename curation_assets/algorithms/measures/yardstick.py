"""Yardstick: measures of subsets that need no labels, on a sample of the pool.

All of them compare subsets of one size: most grow, or fall, with the size alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from curation_assets.algorithms.balance import effective_number
from curation_assets.algorithms.kmeans.fit import fit_kmeans
from curation_assets.algorithms.measures.distances import SampleNeighbours, subset_distances
from curation_assets.algorithms.measures.vendi import vendi_score
from curation_assets.algorithms.preprocessing import Preprocessing, fit_preprocessing
from curation_assets.algorithms.randomness import Purpose, generator
from curation_assets.algorithms.rows import ArrayRows, as_tensor
from curation_assets.algorithms.search.assigner import assign
from curation_assets.algorithms.settings import Metric

MOST_ROWS = 20_000
"""Rows of a sample, and of a subset, that are looked at."""
NEIGHBOUR_RANK = 10
N_CLUSTERS = 200
DIGITS = 6
"""Significant digits of a measure: further ones may differ between machines."""
_LEAST_CLUSTER_SIZE = 20

Measure = Literal["vendi", "effective_partition", "pool_distance", "isolation"]
MEASURES: tuple[Measure, ...] = ("vendi", "effective_partition", "pool_distance", "isolation")
DIVERSITY: tuple[Measure, ...] = ("vendi", "effective_partition")
"""The cheap half, from which the start level is chosen."""


@dataclass(frozen=True, slots=True)
class SubsetMeasures:
    """What a subset measures, rounded to 6 significant digits; None for a measure that was not asked for."""

    vendi: float | None = None
    """Vendi score, seen from the mean of the pool: rows at right angles that are as diverse."""
    effective_partition: float | None = None
    """Effective number of clusters of an independent flat partition of the pool."""
    pool_distance: float | None = None
    """Mean distance of the sampled pool to the nearest row of the subset: low where the subset covers the pool."""
    isolation: float | None = None
    """Mean distance of the subset's rows to their 10th neighbour in the sampled pool: high for outliers. A row that is
    in the sample is its own first neighbour."""


@dataclass(frozen=True)
class Yardstick:
    """A sample of a pool and an independent flat partition of it; one serves any number of subsets."""

    rows: np.ndarray
    """float32 (n, d): the sample, of unit length for cosine."""
    centroids: np.ndarray
    """float32 (k, d) of the partition."""
    origin: np.ndarray | None
    """float32 (d,): where Vendi scores are seen from; None is zeros."""
    preprocessing: Preprocessing
    """How subsets become comparable with `rows`."""
    seed: int
    device: str = "cpu"

    @classmethod
    def fit(
        cls,
        sample: np.ndarray,
        *,
        metric: Metric,
        seed: int,
        device: str = "cpu",
        n_clusters: int = N_CLUSTERS,
        centring: bool = True,
    ) -> Yardstick:
        """Partition a sample by flat k-means, with a seed of its own.

        A tree that is judged by its own clusters looks good whatever they are, which is why the partition is another.

        Args:
            sample: float (n, d), prepared rows of the pool (centred if the pool's are) in an order that does not
                depend on shards. Of more than 20,000 rows as many are drawn.
            metric: the pool's. Rows are made unit length for cosine.
            seed: the pool's; the partition takes a stream of its own, apart from the tree's.
            device: torch device.
            n_clusters: k, where the sample has at least 20 rows for each; else a twentieth of its rows.
            centring: Vendi scores of all subsets are seen from the mean of the sample. From zeros, where embeddings
                point much the same way, the score sees little else (docs/design/start_level.md).

        Returns:
            The yardstick. Memory: 4 n d bytes, as much again while it is fitted, and about 600 n once distances
            within the sample are known.

        Raises:
            ValueError: if there are no rows, a value is not finite, or the metric is unknown.
        """
        rows = _at_most(np.asarray(sample), seed)
        preprocessing = fit_preprocessing(ArrayRows(rows), metric=metric, centring=False)
        rows = preprocessing.apply(rows)
        k = max(1, min(n_clusters, len(rows) // _LEAST_CLUSTER_SIZE))
        rng = generator(seed, Purpose.YARDSTICK, 0)
        fit = fit_kmeans(ArrayRows(rows), k, metric=metric, rng=rng, device=device)
        # Sums of rows on the grid are exact: the mean is the same on any machine.
        origin = rows.mean(axis=0, dtype=np.float64).astype(np.float32) if centring else None
        return cls(rows, fit.centroids, origin, preprocessing, seed, device)

    def measure(self, subset: np.ndarray, only: Sequence[Measure] = MEASURES) -> SubsetMeasures:
        """Measure a subset of the pool.

        Args:
            subset: float (m, d), prepared as the sample was. Of more than 20,000 rows as many are drawn, for all four
                measures: compare it with subsets of the same size.
            only: the measures that are wanted; `DIVERSITY` takes a fraction of the time.

        Returns:
            The measures, rounded. Without rows, the first two are 0 and distances are None. Memory: 12 m d bytes and
            some 64 MiB a thread.

        Raises:
            ValueError: if the subset has another dimension than the sample, or a measure is unknown.
        """
        if unknown := set(only) - set(MEASURES):
            raise ValueError(f"only names {sorted(unknown)}: use some of {', '.join(MEASURES)}")
        subset = np.asarray(subset)
        if subset.ndim != 2 or subset.shape[1] != self.rows.shape[1]:
            raise ValueError(
                f"subset has shape {subset.shape}, but rows of the sample have {self.rows.shape[1]} dimensions: pass "
                f"rows of the same pool, (m, {self.rows.shape[1]})"
            )
        rows = self.preprocessing.apply(_at_most(subset, self.seed))
        found: dict[Measure, float] = {}
        if "vendi" in only:
            found["vendi"] = vendi_score(rows, self.origin)
        if "effective_partition" in only:
            found["effective_partition"] = self._effective_partition(rows)
        if len(rows) and {"pool_distance", "isolation"} & set(only):
            to_nearest, at_rank = self._distances(rows)
            distances: dict[Measure, np.ndarray] = {"pool_distance": to_nearest, "isolation": at_rank}
            found |= {
                name: float(np.mean(d, dtype=np.float64)) for name, d in distances.items() if name in only
            }
        return SubsetMeasures(**{name: rounded(value) for name, value in found.items()})

    def _effective_partition(self, rows: np.ndarray) -> float:
        if not len(rows):
            return 0.0
        metric = self.preprocessing.metric
        clusters, _ = assign(rows, self.centroids, metric=metric, device=self.device)
        return effective_number(np.bincount(clusters))

    def _distances(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `subset_distances`. Rows of the sample take a fraction of the time once its neighbours are known."""
        places = np.array([self._places.get(hash(row.tobytes()), -1) for row in rows])
        if (places >= 0).all() and np.array_equal(self.rows[places], rows):
            return self._neighbours.subset_distances(places, rank=NEIGHBOUR_RANK)
        sample = as_tensor(self.rows, self.device)
        return subset_distances(sample, rows, metric=self.preprocessing.metric, rank=NEIGHBOUR_RANK)

    @cached_property
    def _places(self) -> dict[int, int]:
        """Where each row of the sample is, by the hash of its bytes."""
        return {hash(row.tobytes()): place for place, row in enumerate(self.rows)}

    @cached_property
    def _neighbours(self) -> SampleNeighbours:
        return SampleNeighbours.of(self.rows, metric=self.preprocessing.metric, device=self.device)


def rounded(value: float) -> float:
    """A measure to 6 significant digits."""
    return float(f"{value:.{DIGITS}g}")


def _at_most(rows: np.ndarray, seed: int) -> np.ndarray:
    """At most `MOST_ROWS` rows in their order, drawn evenly."""
    if len(rows) <= MOST_ROWS:
        return rows
    rng = generator(seed, Purpose.YARDSTICK, 1)
    return rows[np.sort(rng.choice(len(rows), MOST_ROWS, replace=False))]
