"""The same flat fit in this process and on one and two Ray workers of one thread each, in one run.

.venv/bin/pip install -e '.[ray]' && .venv/bin/python benchmarks/ray_workers.py
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from machine import describe_machine
from pools_of_vectors import clustered_pool
from upath import UPath

from curation_assets.algorithms.hierarchy import FitProgress, LevelFitter, LevelSpec
from curation_assets.algorithms.preprocessing import PreparedRows, fit_preprocessing
from curation_assets.engines import build_engine
from curation_assets.pools import EngineSettings
from curation_assets.steps.fit_workers import held_inputs
from curation_assets.storage.array_files import StoredRows

BUDGET = 4 * 10**9


def main() -> None:  # noqa: D103 - see the module
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--clusters", type=int, default=2000)
    parser.add_argument("--iterations", type=int, default=12)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.npy"
        np.save(path, clustered_pool(options.rows).astype(np.float16))
        stored = StoredRows(UPath(path))
        rows = PreparedRows(stored, fit_preprocessing(stored, metric="cosine", centring=False))
        spec = LevelSpec(
            n_clusters=options.clusters,
            resampling_steps=0,
            max_iterations=options.iterations,
            tolerance=0.0,
            n_local_trials=1,
        )
        engine = build_engine(EngineSettings(kind="ray"), BUDGET)
        list(engine.map(abs, range(engine.n_workers)))  # Ray is up before anything is timed
        found = {}
        print(f"{options.rows:,} x 384, k = {options.clusters:,}, {options.iterations} iterations")
        print(f"{'':22} {'ready':>7} {'seeds':>7} {'iterations':>11} {'first':>7} {'last':>7}  bytes")
        for name, n_workers in (("in process, 1 thread", 0), ("Ray, 1 worker", 1), ("Ray, 2 workers", 2)):
            found[name] = timed(rows, spec, engine, n_workers, name)
        here, one, two = found.values()
        print(f"1 -> 2 workers: seeds {one[0] / two[0]:.2f} x, iterations {one[1] / two[1]:.2f} x")
        overhead = (one[1] - here[1]) / options.iterations
        print(f"Ray's overhead: {overhead:.3f} s an iteration (one worker against this process)")
        print(f"peak memory of a worker: {engine.describe()['peak_worker_bytes'] / 1e6:,.0f} MB")
        print(describe_machine("ray", "torch", "numpy"))


def timed(
    rows: PreparedRows, spec: LevelSpec, engine: object, n_workers: int, name: str
) -> tuple[float, float]:
    """Seconds of the seeds and of all iterations."""
    marks: list[float] = []

    def note(progress: FitProgress) -> None:
        marks.append(time.perf_counter())

    fitter = LevelFitter(level=1, spec=spec, metric="cosine", seed=0, on_progress=note)
    began = time.perf_counter()
    with held_inputs(engine, rows, fitter, n_workers=n_workers, device="cpu") as held:  # type: ignore[arg-type]
        held.take(np.array([0]))
        ready = time.perf_counter()
        level = fitter.fit(held)
    # The first iteration ends the seeds' time too: its own is that of the second, which searches everything as well.
    steps = np.diff(marks)
    seeds = marks[0] - ready - steps[0]
    digest = hashlib.sha256(level.centroids.tobytes() + level.assignments.tobytes()).hexdigest()[:10]
    total = float(steps.sum() + steps[0])
    print(
        f"{name:22} {ready - began:7.1f} {seeds:7.1f} {total:11.1f} {steps[0]:7.2f} {steps[-1]:7.2f}  {digest}",
        flush=True,
    )
    return seeds, total


if __name__ == "__main__":
    main()
