"""Many small k-means fits at once: a few launches on a CUDA device for all of them, where each would take its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from curation_assets.algorithms.kmeans.fit import KMeansFit, fit_kmeans
from curation_assets.algorithms.kmeans.grouped.choice import which_together
from curation_assets.algorithms.kmeans.grouped.greedy import greedy_seeds
from curation_assets.algorithms.kmeans.grouped.lloyd import GroupedLloyd
from curation_assets.algorithms.kmeans.grouped.proposals import proposed_seeds
from curation_assets.algorithms.kmeans.seeding import candidates_per_seed
from curation_assets.algorithms.kmeans.tiles import TiledRows
from curation_assets.algorithms.rows import ArrayRows
from curation_assets.algorithms.search.cuda.compact import PIECE
from curation_assets.algorithms.search.cuda.grouped_search import GroupedRows
from curation_assets.algorithms.search.pairs import squared_lengths
from curation_assets.algorithms.settings import DEFAULT_MAX_ITERATIONS, DEFAULT_TOLERANCE, Metric

# Values of rows on the device at a time, beside about ten times as many bytes for each.
_MOST_VALUES = 2**25


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupedFits:
    """The fits inside the coarse clusters of one level, as far as they advance together."""

    metric: Metric
    max_iterations: int
    tolerance: float
    n_local_trials: int | Literal["auto"]
    device: str
    rng_of: Callable[[int], np.random.Generator]
    """Source of the seeds inside a coarse cluster, by its number."""

    def which(self, sizes: np.ndarray, n_clusters: np.ndarray, dimension: int) -> np.ndarray:
        """Which fits of a bucket advance together, bool (g,); see `which_together`."""
        trials = self.n_local_trials
        return which_together(sizes, n_clusters, dimension, n_local_trials=trials, device=self.device)

    def fit(
        self, rows: TiledRows, members: Sequence[np.ndarray], n_clusters: np.ndarray, clusters: np.ndarray
    ) -> list[KMeansFit]:
        """The fits inside some coarse clusters, a bounded number of rows at a time.

        Args:
            rows: prepared, on the device.
            members: int64 (m,) of each coarse cluster: its rows, at least one.
            n_clusters: int64 (g,): sub-clusters of each, at most its rows.
            clusters: int64 (g,): numbers of the coarse clusters.
        """
        bounds = np.concatenate([[0], np.cumsum([len(mine) for mine in members])])
        # The kernels fill narrow rows up.
        most_rows = max(1, _MOST_VALUES // max(PIECE, rows.rows.dimension))
        fits: list[KMeansFit] = []
        while len(fits) < len(clusters):
            first = len(fits)
            last = int(np.searchsorted(bounds, bounds[first] + most_rows, side="right")) - 1
            some = slice(first, max(last, first + 1))
            edges = bounds[some.start : some.stop + 1]
            fits += fit_together(
                rows.take(np.concatenate(members[some])),
                edges - edges[0],
                n_clusters[some],
                metric=self.metric,
                rngs=[self.rng_of(cluster) for cluster in clusters[some].tolist()],
                max_iterations=self.max_iterations,
                tolerance=self.tolerance,
                n_local_trials=self.n_local_trials,
            )
        return fits


def fit_together(
    block: torch.Tensor,
    bounds: np.ndarray,
    n_clusters: np.ndarray,
    *,
    metric: Metric,
    rngs: Sequence[np.random.Generator],
    max_iterations: int = DEFAULT_MAX_ITERATIONS,
    tolerance: float = DEFAULT_TOLERANCE,
    n_local_trials: int | Literal["auto"] = "auto",
) -> list[KMeansFit]:
    """`fit_kmeans` of many groups of rows; each fit has the bytes it has by itself.

    Args:
        block: float32 (n, d): prepared rows, group after group, on a device that the kernels run on.
        bounds: int64 (g + 1,): group i has the rows from bounds[i] up to bounds[i + 1], at least one.
        n_clusters: int64 (g,): k of each group, at most its rows.
        metric: see `fit_kmeans`.
        rngs: source of the seeds of each group.
        max_iterations: see `fit_kmeans`.
        tolerance: see `fit_kmeans`.
        n_local_trials: see `fit_kmeans`.

    Returns:
        The fits. Memory on the device, beside the block: the rows in float16, about 100 bytes a row (and 8 for each
        candidate of a seed), a bit for each row and cluster of its group, and 30 bytes a centroid value.

    Raises:
        ValueError: if a group has fewer rows than clusters.
    """
    sizes, dimension = np.diff(bounds), block.shape[1]
    for group in np.flatnonzero((n_clusters < 1) | (n_clusters > sizes)).tolist():
        raise ValueError(
            f"n_clusters of group {group} is {n_clusters[group]:,}, but it has {sizes[group]:,} rows: use a value from "
            f"1 to {sizes[group]:,}"
        )
    grouped = GroupedRows(block, bounds)
    if not grouped.is_in_range:
        return [
            fit_kmeans(
                ArrayRows(block[bounds[group] : bounds[group + 1]].cpu().numpy()),
                int(n_clusters[group]),
                metric=metric,
                rng=rngs[group],
                device=str(block.device),
                max_iterations=max_iterations,
                tolerance=tolerance,
                n_local_trials=n_local_trials,
            )
            for group in range(len(sizes))
        ]
    pairs = zip(sizes.tolist(), n_clusters.tolist(), strict=True)
    trials = np.array([candidates_per_seed(n, k, dimension, n_local_trials) for n, k in pairs])
    lengths = squared_lengths(grouped.block)
    is_greedy = trials > 1
    greedy = greedy_seeds(grouped, lengths, n_clusters, np.where(is_greedy, trials, 0), rngs)
    proposed = proposed_seeds(grouped, n_clusters, ~is_greedy, rngs)
    chosen = np.concatenate(
        [bounds[i] + (greedy[i] if is_greedy[i] else proposed[i]) for i in range(len(sizes))]
    )
    places = np.concatenate([[0], np.cumsum(n_clusters)])
    seeds = block[torch.from_numpy(chosen).to(block.device)]
    return GroupedLloyd(grouped, seeds, places, metric, lengths).run(max_iterations, tolerance)
