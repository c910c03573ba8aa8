"""FitInputs: the rows of a fit as its leader sees them, wherever the workers are that hold them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from curation_assets.algorithms.kmeans.centroid_sums import CentroidSums, merge_deltas
from curation_assets.algorithms.kmeans.row_worker import RowWorker
from curation_assets.algorithms.kmeans.seed_distances import positions_in_blocks
from curation_assets.algorithms.kmeans.tiles import FitMemory, TiledRows
from curation_assets.algorithms.kmeans.worker_pool import Arguments, Call, InProcessPool, WorkerPool
from curation_assets.algorithms.rows import ArrayRows, Rows
from curation_assets.algorithms.settings import Metric


class FitInputs:
    """Inputs of a level, held by the workers of a pool; `select` begins a fit on all or some of them.

    Args:
        pool: of `RowWorker`s.
        bounds: int64 (n_workers + 1,), see `part_bounds`.
        dimension: length of a row.
        metric: of the fits.
    """

    def __init__(self, pool: WorkerPool, bounds: np.ndarray, dimension: int, metric: Metric) -> None:
        self._pool, self._bounds = pool, bounds
        self.dimension, self.metric = dimension, metric
        self.weights: np.ndarray | None = None
        """float64 (m,): weights of the rows of the fit; None counts each once."""
        self._shares = bounds
        self._selecting = Call("select", self._everyone(None, None))

    @classmethod
    def in_process(
        cls, rows: Rows | TiledRows, metric: Metric, *, device: str = "cpu", memory: FitMemory | None = None
    ) -> FitInputs:
        """All rows with one worker in this process.

        Args:
            rows: prepared rows (n, d).
            metric: of the fits.
            device: torch device.
            memory: size up to which rows are read once and kept.
        """
        memory = memory or FitMemory()
        if not isinstance(rows, TiledRows):
            room, chunk = memory.room(device), memory.chunk_bytes
            rows = TiledRows(rows, device, resident_bytes=room, chunk_bytes=chunk)
        whole = rows.rows
        pool = InProcessPool(RowWorker(rows, 0, metric))
        return cls(pool, np.array([0, whole.n_rows]), whole.dimension, metric)

    @property
    def n_inputs(self) -> int:
        """All rows, of the present fit or not."""
        return int(self._bounds[-1])

    @property
    def n_rows(self) -> int:
        """Rows of the present fit."""
        return int(self._shares[-1])

    @property
    def device(self) -> str:
        """Torch device on which this process computes for the fit: that of its own worker, else the CPU."""
        return str(self._pool.worker.tiled.device) if isinstance(self._pool, InProcessPool) else "cpu"

    @property
    def keeps_rows(self) -> bool | None:
        """Whether the rows stay on the device; None if workers elsewhere hold them."""
        return bool(self._pool.worker.keeps_rows) if isinstance(self._pool, InProcessPool) else None

    def select(self, rows: np.ndarray | None = None, weights: np.ndarray | None = None) -> None:
        """Begin a fit on some of the rows.

        Args:
            rows: int64 (m,), ascending; None takes all.
            weights: (m,): how many times each row counts; None counts each once.
        """
        self.weights = None if weights is None else np.asarray(weights, dtype=np.float64)
        self._shares = self._bounds if rows is None else np.searchsorted(rows, self._bounds)
        self._selecting = Call(
            "select", list(zip(self._by_worker(rows), self._by_worker(self.weights), strict=True))
        )
        self._pool.change("select", self._selecting.arguments, [self._selecting])

    def take(self, numbers: np.ndarray) -> np.ndarray:
        """Rows of the present fit, in the order given, float32 (m, d)."""
        worker = np.searchsorted(self._shares, numbers, side="right") - 1
        taken = self._pool.ask("take", [(numbers[worker == w] - self._shares[w],) for w in self._workers])
        return _in_order(worker, taken)

    def gathered(self) -> TiledRows:
        """The rows of the present fit in this process: those of the only worker, or copies of all workers' rows."""
        if isinstance(self._pool, InProcessPool):
            tiled: TiledRows = self._pool.worker.tiled
            return tiled
        return TiledRows(ArrayRows(self.take(np.arange(self.n_rows))), "cpu")

    def add_seeds(self, points: np.ndarray, so_far: np.ndarray) -> list[np.ndarray]:
        """Account for new seeds.

        Args:
            points: float32 (m, d).
            so_far: float32 (s, d): all seeds, these included.

        Returns:
            By worker, the mass of its blocks (see `RowWorker.add_seeds`).
        """
        history = [self._selecting, Call("add_seeds", self._everyone(so_far))]
        return self._pool.change("add_seeds", self._everyone(points), history)

    def draw(
        self, masses: Sequence[np.ndarray], shares: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows drawn with probability proportional to their mass.

        Args:
            masses: of the blocks, by worker.
            shares: float64 (m,), random numbers from 0 to 1.

        Returns:
            Rows int64 (m,), their squared distances float64 (m,) and the rows themselves, float32 (m, d).
        """
        block, inside = positions_in_blocks(np.concatenate(list(masses)), shares)
        first_block = np.cumsum([0, *map(len, masses)])
        worker = np.searchsorted(first_block, block, side="right") - 1
        drawn = self._pool.ask(
            "draw", [(block[worker == w] - first_block[w], inside[worker == w]) for w in self._workers]
        )
        rows = [found + self._shares[w] for w, (found, _, _) in enumerate(drawn)]
        parts = (rows, [squared for _, squared, _ in drawn], [points for _, _, points in drawn])
        found, squared, points = (_in_order(worker, part) for part in parts)
        return found, squared, points

    def begin(self, centroids: np.ndarray, *, at_seeds: bool) -> CentroidSums:
        """Begin Lloyd's iterations.

        Args:
            centroids: float32 (k, d).
            at_seeds: they are the seeds that were searched for last, so that every row's nearest one is known.
        """
        method = "begin_at_seeds" if at_seeds else "begin"
        squared, delta = self._merged(method, centroids)
        # Added up in the order of the blocks, whoever holds them.
        sums = CentroidSums(centroids, self.metric, float(np.cumsum(np.concatenate(squared))[-1]))
        for piece in delta:
            sums.add(piece)
        return sums

    def step(self, sums: CentroidSums) -> int:
        """One iteration: centroids to the means of their rows, rows to their nearest centroids.

        Returns:
            Rows that changed cluster.
        """
        n_reassigned, delta = self._merged("step", sums.update())
        for piece in delta:
            sums.add(piece)
        return sum(n_reassigned)

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """Assignments int64 (m,) and distances float32 (m,) of the rows of the fit."""
        return _joined(self._pool.ask("result", self._everyone()))

    def assign_all(self, centroids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Assignments int64 (n,) and distances float32 (n,) of all inputs to the centroids of the fit."""
        return _joined(self._pool.ask("assign_all", self._everyone(centroids)))

    def _merged(self, method: str, centroids: np.ndarray) -> tuple[list[Any], list[Any]]:
        # A lost worker finds the nearest centroids again: they are exact, so it gets what it had.
        history = [self._selecting, Call("begin", self._everyone(centroids, 1))]
        return self._pool.change_and_merge(
            method, self._everyone(centroids), history, merge_deltas, 8 * centroids.size
        )

    @property
    def _workers(self) -> range:
        return range(self._pool.n_workers)

    def _everyone(self, *arguments: Any) -> Arguments:
        return [arguments] * self._pool.n_workers

    def _by_worker(self, values: np.ndarray | None) -> list[np.ndarray | None]:
        if values is None:
            return [None] * self._pool.n_workers
        return [values[self._shares[w] : self._shares[w + 1]] for w in self._workers]


def _in_order(worker: np.ndarray, parts: Sequence[np.ndarray]) -> np.ndarray:
    """What each worker gave, in the order in which it was asked for."""
    if len(parts) == 1:
        return parts[0]
    joined = np.concatenate(list(parts))
    result = np.empty_like(joined)
    result[np.argsort(worker, kind="stable")] = joined
    return result


def _joined(parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    if len(parts) == 1:
        return parts[0]
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
