"""Lloyd's iterations of many fits at once, on the device.

An iteration of all fits that still run is one search, one sum of clusters and one update of centroids, and waits for
the device once, for what tells which fits have ended. Rows are multiples of a grid step, so sums of clusters are exact
in any order, and every fit has the bytes it has by itself on the CPU.
"""

from __future__ import annotations

import numpy as np
import torch

from curation_assets.algorithms.kmeans.centroid_sums import gains
from curation_assets.algorithms.kmeans.fit import KMeansFit, is_settled
from curation_assets.algorithms.kmeans.row_worker import BLOCK_ROWS, block_sums
from curation_assets.algorithms.search.cuda.grouped_search import GroupedRows
from curation_assets.algorithms.search.pairs import add_rows, reported_distance, squared_lengths
from curation_assets.algorithms.settings import Metric


class GroupedLloyd:
    """The fits of all groups, from their seeds on.

    Args:
        rows: of all fits.
        seeds: float32 (k, d): centroids to start from, fit after fit.
        places: int64 (g + 1,): fit i has the centroids from places[i] up to places[i + 1].
        metric: 'cosine' keeps centroids at unit length.
        lengths: float64 (n,): squared lengths of the rows.
    """

    def __init__(
        self,
        rows: GroupedRows,
        seeds: torch.Tensor,
        places: np.ndarray,
        metric: Metric,
        lengths: torch.Tensor,
    ) -> None:
        n_fits = len(places) - 1
        self._rows, self._places, self._metric = rows, places, metric
        self._on_device = rows.places(places)
        self._squared_lengths = _by_fit(lengths.cpu().numpy(), rows.bounds)
        self._centroids = seeds
        self._among = rows.among(seeds, self._on_device, rows.largest_norm)
        self._clusters = rows.nearest(self._among, rows.runs(np.ones(n_fits, dtype=np.bool_)))
        self._sum_up()
        self.inertias: list[list[float]] = [[] for _ in range(n_fits)]
        """Of each fit, after each iteration."""

    def run(self, max_iterations: int, tolerance: float) -> list[KMeansFit]:
        """Iterate until every fit has ended; see `fit_kmeans`."""
        running = np.full(len(self.inertias), max_iterations > 0)
        while running.any():
            inertias, n_reassigned = self._step(running)
            for fit in np.flatnonzero(running).tolist():
                mine = self.inertias[fit]
                mine.append(float(inertias[fit]))
                running[fit] = len(mine) < max_iterations and not is_settled(
                    mine, int(n_reassigned[fit]), tolerance
                )
        return self._fits()

    def _step(self, running: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """One iteration of some fits, bool (g,): their inertias float64 (g,) and rows reassigned (g,)."""
        runs = self._rows.runs(running)
        self._update(runs)
        self._among = self._rows.among(self._centroids, self._on_device, self._rows.largest_norm)
        nearest = self._rows.nearest(self._among, runs)
        runs_of_row = runs[self._rows.groups.of_row] != 0
        changed = runs_of_row & (nearest != self._clusters)
        self._clusters = torch.where(runs_of_row, nearest, self._clusters)
        self._sum_up()
        # Changed rows up to each row, as whole numbers: differences of them at the fits' bounds are exact.
        reassigned = torch.nn.functional.pad(changed.cumsum(0), (1, 0))[self._rows.groups.row_bounds]
        told = torch.cat([self._squared, self._counts, reassigned.double()]).cpu().numpy()
        squared, counts, up_to = np.split(told, [len(self._squared), 2 * len(self._squared)])
        return self._inertias(squared, counts), np.diff(up_to)

    def _update(self, runs: torch.Tensor) -> None:
        """Move the centroids of the fits that run to the means of their rows."""
        # As `CentroidSums.update`; there a cluster that neither gained nor lost a row has the same sum as before.
        divisors = self._squared.sqrt() if self._metric == "cosine" else self._counts
        moves = (runs[self._on_device.of_centroid] != 0) & (self._counts > 0) & (divisors > 0)
        means = (self._sums / torch.where(moves, divisors, 1.0)[:, None]).float()
        self._centroids = torch.where(moves[:, None], means, self._centroids)

    def _sum_up(self) -> None:
        """Sums and sizes of all clusters, and the squared lengths of the sums."""
        centroids, ones = self._centroids, torch.ones_like(self._clusters, dtype=torch.float64)
        self._sums = torch.zeros(centroids.shape, dtype=torch.float64, device=centroids.device)
        add_rows(self._rows.block, None, self._clusters, ones, self._sums)
        self._counts = self._sums.new_zeros(len(centroids)).index_add_(0, self._clusters, ones)
        self._squared = squared_lengths(self._sums)

    def _inertias(self, squared: np.ndarray, counts: np.ndarray) -> np.ndarray:
        # One row for each fit, filled up with zeros; cumsum adds one after the other, as `CentroidSums.inertia` does.
        sizes = np.diff(self._places)
        gain = np.zeros((len(sizes), int(sizes.max())))
        gain[np.arange(gain.shape[1]) < sizes[:, None]] = gains(squared, counts, self._metric)
        inertias: np.ndarray = np.maximum(0.0, self._squared_lengths - np.cumsum(gain, axis=1)[:, -1])
        return inertias

    def _fits(self) -> list[KMeansFit]:
        squared = self._rows.squared_distances(self._among, self._clusters)
        distances = reported_distance(squared, self._metric).cpu().numpy()
        clusters, centroids = self._clusters.cpu().numpy(), self._centroids.cpu().numpy()
        fits = []
        for fit, inertias in enumerate(self.inertias):
            rows = slice(*self._rows.bounds[fit : fit + 2].tolist())
            places = slice(*self._places[fit : fit + 2].tolist())
            fits.append(
                KMeansFit(centroids[places], clusters[rows] - places.start, distances[rows], tuple(inertias))
            )
        return fits


def _by_fit(lengths: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Sums of squared lengths float64 (g,), in blocks of rows, as `RowWorker` and its leader add them up."""
    totals = np.empty(len(bounds) - 1)
    for fit, (first, last) in enumerate(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)):
        blocks = block_sums(lengths[first:last], np.arange(0, last - first, BLOCK_ROWS))
        totals[fit] = np.cumsum(blocks)[-1]
    return totals
