"""Many small searches at once: rows of many groups, each among the centroids of its own group.

Two launches find the exact nearest centroid of all rows, the lowest index of equally near ones, and never wait for
the device. One marks the centroids that may be nearest, by products in float16 within a proven bound (`ScoreError`).
The other compares float64 distances where a row has several. These are summed in the order of the CPU's loops, so both
find the same centroid.
"""

from __future__ import annotations

import numpy as np
import torch

from curation_assets.algorithms.search.cuda import grouped_launches, row_launches
from curation_assets.algorithms.search.cuda.grouped_launches import GroupedCentroids, Groups, Places
from curation_assets.algorithms.search.cuda.rounding import LARGEST_NORM, HalfRows, error_factors

# Lengths are computed in float32.
_SLACK = 1 + 1e-4


class GroupedRows:
    """Rows of many groups on a device, ready to be searched for.

    Args:
        block: float32 (n, d), group after group.
        bounds: int64 (g + 1,): group i has the rows from bounds[i] up to bounds[i + 1], at least one.
    """

    def __init__(self, block: torch.Tensor, bounds: np.ndarray) -> None:
        self.block, self.bounds = block.contiguous(), bounds
        self.norms = torch.linalg.vector_norm(block, dim=1)
        self._half = HalfRows.of(block, self.norms)
        sizes = np.diff(bounds)
        self.groups = Groups(
            self._moved(bounds),
            self._moved(np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)),
            *grouped_launches.row_tiles(bounds, grouped_launches.TILE_ROWS, block.device),
        )

    @property
    def largest_norm(self) -> float:
        """No row is longer."""
        return self._half.largest_norm

    @property
    def is_in_range(self) -> bool:
        """Whether the rows are short enough for scores in float32; False for NaN too."""
        return self.largest_norm < LARGEST_NORM

    def runs(self, takes_part: np.ndarray) -> torch.Tensor:
        """Which groups, bool (g,), a search is for: int32 (g,) on the device."""
        # Few bytes, which are copied out of the host's memory before the call returns: there is nothing to wait for.
        return torch.from_numpy(takes_part.astype(np.int32)).to(self.block.device, non_blocking=True)

    def places(self, bounds: np.ndarray) -> Places:
        """Where centroids lie: group i has those from bounds[i] up to bounds[i + 1], int64 (g + 1,)."""
        widths = np.diff(bounds)
        return Places(
            self._moved(bounds), self._moved(np.repeat(np.arange(len(widths)), widths)), int(widths.max())
        )

    def among(self, centroids: torch.Tensor, places: Places, largest_norm: float) -> GroupedCentroids:
        """Centroids to search among; never waits for the device.

        Args:
            centroids: float32 (k, d), contiguous, group after group.
            places: of the groups.
            largest_norm: no centroid is longer, but for rounding; at most `LARGEST_NORM`.
        """
        squared = centroids.double().square_().sum(dim=1)
        norms = squared.sqrt().float() * _SLACK
        half = HalfRows.of(centroids, norms, largest_norm)
        longest, residual = (
            norms.new_zeros(len(places.bounds) - 1).scatter_reduce_(0, places.of_centroid, values, "amax")
            for values in (norms, half.residuals)
        )
        errors = error_factors(longest, residual, half.values.shape[1], centroids.device)
        return GroupedCentroids(centroids, half, (-0.5 * squared).float(), places, errors)

    def nearest(self, among: GroupedCentroids, runs: torch.Tensor) -> torch.Tensor:
        """The exact nearest centroid of each row in its group, the lowest index of equally near ones.

        Args:
            among: the centroids.
            runs: see there; a group that is left out is 0.

        Returns:
            int64 (n,): a row of `among.centroids`; of no use for rows of groups left out. Memory beside it: 12 bytes a
            row, and a bit for each row and centroid of its group.
        """
        # Triton launches on the current device.
        with torch.cuda.device_of(self.block):
            found = grouped_launches.near(self.norms, self._half, self.groups, among, runs)
            grouped_launches.decide(self.block, self.groups, among, runs, found)
        return found[0] + among.places.bounds[self.groups.of_row]

    def squared_distances(self, among: GroupedCentroids, clusters: torch.Tensor) -> torch.Tensor:
        """Squared distance of each row to its cluster, int64 (n,): float64 (n,) with the bits of the CPU's."""
        return row_launches.pair_squares(self.block, None, among.centroids, clusters)

    def _moved(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.block.device)
