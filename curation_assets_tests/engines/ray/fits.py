"""Fits whose rows lie in a file, as workers of other processes read them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from upath import UPath

from curation_assets.algorithms.hierarchy import FitProgress, LevelFitter, LevelSpec
from curation_assets.algorithms.kmeans.row_worker import RowWorker
from curation_assets.algorithms.preprocessing import PreparedRows, fit_preprocessing
from curation_assets.engines.ray.engine import RayEngine
from curation_assets.steps.tree.fit_workers import RowWorkers, held_inputs
from curation_assets.storage.array_files import StoredRows

Fitted = tuple[bytes, bytes, bytes, Any]


def stored_rows(folder: Path, n_rows: int = 6000, dimension: int = 24) -> PreparedRows:
    """Clustered rows, float16, in a file."""
    rng = np.random.default_rng(0)
    centres = 2 * rng.normal(size=(60, dimension))
    array = centres[rng.integers(60, size=n_rows)] + rng.normal(size=(n_rows, dimension))
    np.save(folder / "rows.npy", array.astype(np.float16))
    rows = StoredRows(UPath(folder / "rows.npy"))
    return PreparedRows(rows, fit_preprocessing(rows, metric="cosine", centring=True))


def fitter(on_progress: Callable[[FitProgress], None] | None = None, steps: int = 2) -> LevelFitter:
    """Of 150 clusters, seeded in batches."""
    spec = LevelSpec(n_clusters=150, resampling_steps=steps, n_local_trials=1)
    return LevelFitter(level=1, spec=spec, metric="cosine", seed=5, on_progress=on_progress)


def fit_here(rows: PreparedRows, steps: int = 2) -> Fitted:
    """The whole fit in this process."""
    return level_bytes(fitter(steps=steps).fit(rows))


def fit_on(
    engine: RayEngine,
    rows: PreparedRows,
    n_workers: int,
    on_progress: Callable[[FitProgress], None] | None = None,
    steps: int = 2,
) -> Fitted:
    """The whole fit on so many workers."""
    leader = fitter(on_progress, steps)
    with held_inputs(engine, rows, leader, n_workers=n_workers, device="cpu") as held:
        return level_bytes(leader.fit(held))


def level_bytes(level: Any) -> Fitted:
    return level.centroids.tobytes(), level.assignments.tobytes(), level.distances.tobytes(), level.inertias


@dataclass(frozen=True)
class SignedWorkers:
    """Makes workers that leave the number of their process behind.

    Args:
        build: makes a worker.
        folder: for a file each time a worker is made: number of the worker, process, node.
    """

    build: RowWorkers
    folder: Path

    def __call__(self, number: int) -> RowWorker:
        import ray

        node = ray.get_runtime_context().get_node_id()
        (self.folder / f"{number}-{os.getpid()}-{node}").touch()
        return self.build(number)

    def made(self, number: int) -> list[tuple[int, str]]:
        """(process, node) of every worker of this number that was made, in order of time."""
        files = sorted(self.folder.glob(f"{number}-*"), key=lambda path: path.stat().st_mtime_ns)
        return [(int(path.name.split("-")[1]), path.name.split("-")[2]) for path in files]
