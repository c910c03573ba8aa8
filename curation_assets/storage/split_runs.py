"""Bucketed runs: a pool's rows grouped by coarse cluster in one pass, without sorting all of them.

A run has consecutive rows of the pool, sorted by coarse cluster, and an index of where each coarse cluster begins. A
bucket, a range of coarse clusters, is then one stretch of every run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from curation_assets.storage.array_files import write_header
from curation_assets.storage.atomic import staged_file
from curation_assets.storage.split_work import SplitWork

if TYPE_CHECKING:
    from curation_assets.algorithms.rows import Rows

_PIECE_BYTES = 16 * 2**20


@dataclass(frozen=True, slots=True)
class SplitRuns:
    """The runs of one split level; all but the last have `rows_per_run` rows."""

    work: SplitWork
    n_rows: int
    rows_per_run: int

    def bounds(self) -> list[tuple[int, int]]:
        """First row of each run, and the row after its last."""
        starts = range(0, self.n_rows, self.rows_per_run)
        return [(start, min(start + self.rows_per_run, self.n_rows)) for start in starts]

    def missing(self) -> list[tuple[int, int]]:
        """Bounds of the runs that are not written yet; runs with other bounds are removed."""
        names = {f"{kind}-{start}-{stop}.npy" for start, stop in self.bounds() for kind in ("run", "index")}
        for kind in ("index", "run"):
            for path in self.work.folder.glob(f"{kind}-*.npy"):
                if path.name not in names:
                    path.unlink()
        return [run for run in self.bounds() if not self.work.path(_index(*run)).exists()]

    def write(self, rows: Rows, start: int, stop: int, clusters: np.ndarray, n_clusters: int) -> None:
        """Write one run; its index is written last and marks it as complete.

        Args:
            rows: of the pool, not preprocessed.
            start: first row.
            stop: row after the last.
            clusters: int (stop - start,): their coarse clusters.
            n_clusters: k_coarse.
        """
        block = _without_loss(rows, start, stop)
        order = np.argsort(clusters, kind="stable")
        step = max(1, _PIECE_BYTES // max(1, block[:1].nbytes))
        with staged_file(self.work.path(_run(start, stop))) as staged, staged.open("wb") as file:
            write_header(file, block.dtype.str, block.shape)
            for first in range(0, len(order), step):
                file.write(block[order[first : first + step]].tobytes())
        counts = np.bincount(clusters, minlength=n_clusters)
        self.work.save(_index(start, stop), np.concatenate([[0], np.cumsum(counts)]))

    def bucket(self, first: int, last: int) -> tuple[RunRows, np.ndarray]:
        """The rows of the coarse clusters from `first` up to `last`, and the coarse cluster of each (int64).

        Rows of one coarse cluster are in the pool's order.
        """
        stretches, clusters = [], [np.empty(0, dtype=np.int64)]
        for start, stop in self.bounds():
            index = np.load(self.work.folder / _index(start, stop), mmap_mode="r", allow_pickle=False)
            inside = np.array(index[first : last + 1])
            stretches.append(_Stretch(str(self.work.folder / _run(start, stop)), inside[0], inside[-1]))
            clusters.append(np.repeat(np.arange(first, last), np.diff(inside)))
        return RunRows(stretches), np.concatenate(clusters)


@dataclass(frozen=True, slots=True)
class _Stretch:
    path: str
    start: int
    stop: int

    def open(self) -> np.ndarray:
        """The stretch, memory-mapped; its pages are released with the array."""
        run = np.load(self.path, mmap_mode="r", allow_pickle=False)
        return np.asarray(run[self.start : self.stop])


class RunRows:
    """One stretch of every run as one matrix (see algorithms.rows.Rows); nothing is kept in memory."""

    def __init__(self, stretches: list[_Stretch]) -> None:
        self._stretches = stretches
        sizes = np.array([stretch.stop - stretch.start for stretch in stretches], dtype=np.int64)
        self._bounds = np.concatenate([[0], np.cumsum(sizes)])
        self._dimension = int(np.load(stretches[0].path, mmap_mode="r", allow_pickle=False).shape[1])

    @property
    def n_rows(self) -> int:
        """Rows of all stretches."""
        return int(self._bounds[-1])

    @property
    def dimension(self) -> int:
        """Length of a row."""
        return self._dimension

    def load(self) -> np.ndarray:
        """All rows as they are stored: float16, or float32 if that would have lost something."""
        wide = any(part.dtype == np.float32 for _, _, part in self._parts(0, self.n_rows))
        dtype = np.float32 if wide else np.float16
        return self._filled(np.empty((self.n_rows, self._dimension), dtype=dtype), 0)

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows start to stop as float32 (stop - start, d)."""
        return self._filled(np.empty((stop - start, self._dimension), dtype=np.float32), start)

    def take(self, indices: np.ndarray) -> np.ndarray:
        """Rows `indices` in their order, as float32 (len(indices), d)."""
        block = np.empty((len(indices), self._dimension), dtype=np.float32)
        position = np.searchsorted(self._bounds, indices, side="right") - 1
        for number in np.unique(position):
            inside = np.flatnonzero(position == number)
            block[inside] = self._stretches[number].open()[indices[inside] - self._bounds[number]]
        return block

    def _filled(self, block: np.ndarray, start: int) -> np.ndarray:
        for first, last, part in self._parts(start, start + len(block)):
            block[first - start : last - start] = part
        return block

    def _parts(self, start: int, stop: int) -> Iterator[tuple[int, int, np.ndarray]]:
        for number, stretch in enumerate(self._stretches):
            first, last = max(start, self._bounds[number]), min(stop, self._bounds[number + 1])
            if first < last:
                offset = self._bounds[number]
                yield int(first), int(last), stretch.open()[first - offset : last - offset]


def _without_loss(rows: Rows, start: int, stop: int) -> np.ndarray:
    """Rows as float16, the type of stored embeddings, or as float32 if float16 would lose digits."""
    block = np.empty((stop - start, rows.dimension), dtype=np.float16)
    step = max(1, _PIECE_BYTES // (4 * max(1, rows.dimension)))
    for first in range(start, stop, step):
        piece = rows.read(first, min(first + step, stop))
        with np.errstate(over="ignore"):
            if block.dtype == np.float16 and not np.array_equal(piece.astype(np.float16), piece):
                block = block.astype(np.float32)
        block[first - start : first - start + len(piece)] = piece
    return block


def _run(start: int, stop: int) -> str:
    return f"run-{start}-{stop}.npy"


def _index(start: int, stop: int) -> str:
    return f"index-{start}-{stop}.npy"
