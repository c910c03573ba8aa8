"""RowWorker: one part of a fit's rows, and everything that is computed row by row."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from curation_assets.algorithms.kmeans.centroid_sums import SumDelta
from curation_assets.algorithms.kmeans.lloyd import Lloyd
from curation_assets.algorithms.kmeans.seed_distances import SeedDistances, draw_from_blocks
from curation_assets.algorithms.kmeans.tiles import TiledRows
from curation_assets.algorithms.rows import HasStored, Rows, Stored, StoredHalves, as_tensor
from curation_assets.algorithms.search.assigner import assign_rows
from curation_assets.algorithms.search.codebook import Codebook
from curation_assets.algorithms.search.cuda.compact import Block
from curation_assets.algorithms.search.pairs import lengths
from curation_assets.algorithms.settings import Metric
from curation_assets.algorithms.threads import parts_on_threads

BLOCK_ROWS = 1024
"""Sums that float64 rounds are taken over blocks of this many rows and added up in the order of the blocks. They do not
depend on how rows are shared out, as long as every worker has whole blocks."""


class RowWorker:
    """Rows `start` to `start + n` of a matrix, through the stages of one fit after another.

    Methods take and return numpy arrays and numbers, so that a worker may live in another process. Those of another
    process are read-only.

    Args:
        tiled: the rows of this worker.
        start: number of its first row in the whole matrix; a multiple of `BLOCK_ROWS`.
        metric: how distances are reported.
    """

    def __init__(self, tiled: TiledRows, start: int, metric: Metric) -> None:
        self._whole, self._start, self._metric = tiled, start, metric
        self.select(None, None)

    @parts_on_threads()
    def select(self, rows: np.ndarray | None, weights: np.ndarray | None) -> None:
        """Begin a fit on some of the rows.

        Args:
            rows: int64 (m,), ascending numbers in the whole matrix; None takes all rows of the worker.
            weights: float64 (m,): how many times each row counts; None counts each once.
        """
        self._rows = None if rows is None else np.asarray(rows) - self._start
        self.tiled = self._whole if self._rows is None else self._whole.subset(self._rows)
        """The rows that the present fit is on."""
        self._weights = weights
        self._seeds: SeedDistances | None = None
        self._lloyd: Lloyd | None = None
        # First row of every block that has one.
        if self._rows is None:
            self._blocks = np.arange(0, self.tiled.rows.n_rows, BLOCK_ROWS)
        else:
            self._blocks = np.unique(self._rows // BLOCK_ROWS, return_index=True)[1]

    @property
    def keeps_rows(self) -> bool:
        """Whether all rows of the worker stay on the device, instead of being copied to it in every pass."""
        return self._whole.is_resident

    @parts_on_threads()
    def take(self, numbers: np.ndarray) -> np.ndarray:
        """Rows of the fit by their numbers within this worker's share of it, float32 (m, d)."""
        return self.tiled.take(np.asarray(numbers)).cpu().numpy()

    @parts_on_threads()
    def add_seeds(self, points: np.ndarray) -> np.ndarray:
        """Account for new seeds, float32 (m, d); returns the mass of each block, float64 (b,)."""
        self._seeds = self._seeds or SeedDistances(self.tiled, self._weights)
        self._seeds.add(as_tensor(points, self._whole.device))
        return self._block_sums(self._seeds.mass())

    @parts_on_threads()
    def draw(self, blocks: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows at given positions of the cumulative mass of their blocks.

        Args:
            blocks: int64 (m,), of this worker.
            positions: float64 (m,).

        Returns:
            The rows' numbers within this worker's share int64 (m,), their squared distances float64 (m,) and the rows
            themselves, float32 (m, d).
        """
        seeds = self._state(self._seeds)
        found = draw_from_blocks(
            seeds.mass(), np.append(self._blocks, self.tiled.rows.n_rows), blocks, positions
        )
        return found, seeds.squared[found], self.take(found)

    @parts_on_threads()
    def begin(self, centroids: np.ndarray, n_pieces: int) -> tuple[np.ndarray, list[SumDelta]]:
        """Begin Lloyd's iterations from centroids whose nearest rows are looked for.

        Args:
            centroids: float32 (k, d).
            n_pieces: see `SumDelta.sliced`.

        Returns:
            Sum of the squared lengths of each block's rows, float64 (b,), and the sums of the clusters in pieces.
        """
        return self._begin(centroids, None, n_pieces)

    @parts_on_threads()
    def begin_at_seeds(self, centroids: np.ndarray, n_pieces: int) -> tuple[np.ndarray, list[SumDelta]]:
        """`begin` from the seeds, whose nearest rows the search for seeds has found."""
        nearest = torch.from_numpy(self._state(self._seeds).nearest)
        self._seeds = None
        return self._begin(centroids, nearest, n_pieces)

    @parts_on_threads()
    def step(self, centroids: np.ndarray, n_pieces: int) -> tuple[int, list[SumDelta]]:
        """Assign the rows to centroids that have moved.

        Args:
            centroids: float32 (k, d).
            n_pieces: see `SumDelta.sliced`.

        Returns:
            Rows that changed cluster, and how the sums of the clusters change, in pieces.
        """
        delta, n_reassigned = self._state(self._lloyd).step(as_tensor(centroids, self._whole.device))
        return n_reassigned, delta.sliced(len(centroids), n_pieces)

    @parts_on_threads()
    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """Assignments int64 (m,) and distances float32 (m,) of the rows of the fit."""
        return self._state(self._lloyd).result(self._metric)

    @parts_on_threads()
    def assign_all(self, centroids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Nearest centroids of all rows of the worker, those of the fit as the fit left them.

        Args:
            centroids: float32 (k, d) of the fit.

        Returns:
            Assignments int64 (n,) and distances float32 (n,).
        """
        if self._rows is None:
            return self.result()
        whole = self._whole
        assignments = np.empty(whole.rows.n_rows, dtype=np.int64)
        distances = np.empty(whole.rows.n_rows, dtype=np.float32)
        # The fit has just assigned its own rows, often half of all.
        assignments[self._rows], distances[self._rows] = self.result()
        is_open = np.ones(whole.rows.n_rows, dtype=bool)
        is_open[self._rows] = False
        search = whole.search_among(Codebook.of(as_tensor(centroids, whole.device)))

        def assign(start: int, block: Block) -> None:
            inside = torch.from_numpy(np.flatnonzero(is_open[start : start + len(block)]))
            for some, mine in whole.gathered(block, inside.to(block.device)):
                searched = whole.searched(search, start + some, mine, lengths(mine))
                column, distance = assign_rows(search, searched, self._metric)
                rows = start + some.cpu().numpy()
                assignments[rows], distances[rows] = column.cpu().numpy(), distance.cpu().numpy()

        # About half of the rows of a tile are open.
        whole.each_tile(assign, 2 * search.tile_rows())
        return assignments, distances

    def _begin(
        self, centroids: np.ndarray, nearest: torch.Tensor | None, n_pieces: int
    ) -> tuple[np.ndarray, list[SumDelta]]:
        self._lloyd = Lloyd(self.tiled, as_tensor(centroids, self._whole.device), nearest, self._weights)
        delta, squared = self._lloyd.all_rows()
        return self._block_sums(squared), delta.sliced(len(centroids), n_pieces)

    def _block_sums(self, values: np.ndarray) -> np.ndarray:
        return block_sums(values, self._blocks)

    @staticmethod
    def _state(state: Any) -> Any:
        if state is None:
            raise RuntimeError(
                "a worker was asked for the result of an earlier stage of the fit, which has not run"
            )
        return state


def block_sums(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Sums float64 (b,) of blocks of values float64 (n,), of which `starts`, int64 (b,), are the first places."""
    return np.add.reduceat(values, starts) if len(values) else np.empty(0)


def part_bounds(n_rows: int, n_workers: int) -> np.ndarray:
    """Cut rows into parts of about equal size that are whole blocks.

    Args:
        n_rows: rows of the fit.
        n_workers: parts; some are empty where there are fewer blocks.

    Returns:
        int64 (n_workers + 1,): worker i has the rows from bounds[i] up to bounds[i + 1].
    """
    n_blocks = -(-n_rows // BLOCK_ROWS)
    edges = (np.arange(n_workers + 1) * n_blocks) // n_workers * BLOCK_ROWS
    return np.minimum(edges, n_rows).astype(np.int64)


class RowsPart:
    """Rows `start` to `stop` - 1 of a matrix as a matrix of their own, see `Rows`."""

    def __init__(self, rows: Rows, start: int, stop: int) -> None:
        self._rows, self._start = rows, start
        self.n_rows, self.dimension = stop - start, rows.dimension

    def read(self, start: int, stop: int) -> np.ndarray:
        """See `Rows.read`."""
        return self._rows.read(self._start + start, self._start + stop)

    def take(self, indices: np.ndarray) -> np.ndarray:
        """See `Rows.take`."""
        return self._rows.take(self._start + indices)

    def stored(self) -> Stored | None:
        """See `algorithms.rows.HasStored`."""
        found = self._rows.stored() if isinstance(self._rows, HasStored) else None
        return found and replace(found, rows=_HalfPart(found.rows, self._start, self._start + self.n_rows))


class _HalfPart(RowsPart):
    """The same of rows that are stored as float16, see `StoredHalves`."""

    is_half = True

    def __init__(self, rows: StoredHalves, start: int, stop: int) -> None:
        super().__init__(rows, start, stop)
        self._half = rows

    def read_half(self, start: int, stop: int) -> np.ndarray:
        """See `StoredHalves`."""
        return self._half.read_half(self._start + start, self._start + stop)
