"""The inputs of a fit, held by the workers of an engine: where, and in how many parts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from curation_assets.engines import Engine

if TYPE_CHECKING:
    from curation_assets.algorithms.hierarchy import LevelFitter
    from curation_assets.algorithms.kmeans.inputs import FitInputs
    from curation_assets.algorithms.kmeans.row_worker import RowWorker
    from curation_assets.algorithms.kmeans.tiles import FitMemory
    from curation_assets.algorithms.rows import Rows
    from curation_assets.algorithms.settings import Metric


@dataclass(frozen=True, slots=True)
class RowWorkers:
    """Makes each worker, in the process where it is to live.

    Args:
        rows: prepared rows of the fit, which every worker can read.
        bounds: int64 (n_workers + 1,), see `part_bounds`.
        device: torch device, resolved where the worker lives.
    """

    rows: Rows
    bounds: np.ndarray
    metric: Metric
    device: str
    memory: FitMemory

    def __call__(self, number: int) -> RowWorker:
        """The worker of a number."""
        from curation_assets.algorithms.kmeans.row_worker import RowsPart, RowWorker
        from curation_assets.algorithms.kmeans.tiles import TiledRows
        from curation_assets.pools.device import resolve_device

        start, stop = int(self.bounds[number]), int(self.bounds[number + 1])
        device = resolve_device(self.device, "fit_device")
        tiled = TiledRows(
            RowsPart(self.rows, start, stop),
            device,
            resident_bytes=self.memory.room(device),
            chunk_bytes=self.memory.chunk_bytes,
        )
        return RowWorker(tiled, start, self.metric)


@contextmanager
def held_inputs(
    engine: Engine, rows: Rows, fitter: LevelFitter, *, n_workers: int, device: str
) -> Iterator[FitInputs]:
    """Inputs of a level's fits, held for the block.

    Args:
        engine: where.
        rows: prepared inputs.
        fitter: of the level; its `memory` is what one worker may use.
        n_workers: parts of the rows, see `n_fit_workers`; 0 holds them in this process.
        device: as the pool names it; may be 'auto'.
    """
    from curation_assets.algorithms.kmeans.inputs import FitInputs
    from curation_assets.algorithms.kmeans.row_worker import part_bounds

    if not n_workers:
        yield fitter.inputs(rows)
        return
    bounds = part_bounds(rows.n_rows, n_workers)
    build = RowWorkers(rows, bounds, fitter.metric, device, fitter.memory)
    with engine.hold(build, n_workers) as pool:
        yield FitInputs(pool, bounds, rows.dimension, fitter.metric)


def n_fit_workers(engine: Engine, n_rows: int, work: int, least_work: float) -> int:
    """Workers to share a fit out among; 0 if it stays in this process.

    `work` counts the multiplications of one pass over the rows; with less than `least_work` a fit stays here.
    """
    from curation_assets.algorithms.kmeans.row_worker import BLOCK_ROWS

    if engine.is_local or work < least_work:
        return 0
    return max(1, min(engine.n_workers, -(-n_rows // BLOCK_ROWS)))
