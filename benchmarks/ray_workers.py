"""One flat fit in this process, on one and on two Ray workers of one thread each, in one run.

.venv/bin/pip install -e '.[ray]' && .venv/bin/python benchmarks/ray_workers.py
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from machine import describe_machine
from pools_of_vectors import clustered_pool
from upath import UPath

from curation_assets.algorithms.hierarchy import FitProgress, LevelFitter, LevelSpec
from curation_assets.algorithms.kmeans.row_worker import RowsPart
from curation_assets.algorithms.preprocessing import PreparedRows, fit_preprocessing
from curation_assets.engines import build_engine
from curation_assets.pools import EngineSettings
from curation_assets.steps.tree.fit_workers import held_inputs
from curation_assets.storage.array_files import StoredRows

BUDGET = 4 * 10**9


def main() -> None:  # noqa: D103 - see the module
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--clusters", type=int, default=2000)
    parser.add_argument("--iterations", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=3)
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
        warm = build_engine(EngineSettings(kind="ray"), BUDGET)
        list(warm.map(abs, range(warm.n_workers)))  # Ray is up before anything is timed
        found: dict[str, list[Fitted]] = {
            "in process, 1 thread": [],
            "Ray, 1 worker": [],
            "Ray, 2 workers": [],
        }
        for _ in range(options.repeats):
            for n_workers, runs in enumerate(found.values()):
                runs.append(timed(rows, spec, n_workers))
        print(
            f"{options.rows:,} x 384, k = {options.clusters:,}, {options.iterations} iterations, best of "
            f"{options.repeats}"
        )
        print(f"{'':22} {'ready':>7} {'seeds':>7} {'iterations':>11} {'peak MB':>8}")
        for name, runs in found.items():
            best = [min(getattr(run, field) for run in runs) for field in ("ready", "seeds", "iterations")]
            print(f"{name:22} {best[0]:7.1f} {best[1]:7.1f} {best[2]:11.1f} {runs[0].peak_bytes / 1e6:8,.0f}")
        digests = {run.digest for runs in found.values() for run in runs}
        print(f"results: {'the same bytes' if len(digests) == 1 else 'DIFFERENT'}")
        _here, one, two = found.values()
        for field in ("seeds", "iterations"):
            ratio = min(getattr(run, field) for run in one) / min(getattr(run, field) for run in two)
            print(f"1 -> 2 workers, {field}: {ratio:.2f} x")
        # With few rows computing takes little time: the difference is the transfer of centroids and sums of full size.
        few = PreparedRows(RowsPart(stored, 0, 10 * options.clusters), rows.preprocessing)
        small = [[timed(few, spec, n_workers) for _ in range(options.repeats)] for n_workers in (0, 1)]
        per_iteration = [min(run.per_iteration for run in runs) for runs in small]
        print(
            f"Ray's overhead: {per_iteration[1] - per_iteration[0]:.3f} s an iteration (one worker against here, "
            f"{few.n_rows:,} rows)"
        )
        print(describe_machine("ray", "torch", "numpy"))


@dataclass(frozen=True)
class Fitted:
    """Seconds until the workers have their rows, for the seeds, and for all iterations."""

    ready: float
    seeds: float
    iterations: float
    per_iteration: float
    peak_bytes: int
    digest: str


def timed(rows: PreparedRows, spec: LevelSpec, n_workers: int) -> Fitted:
    """Time one fit; 0 workers means this process."""
    marks: list[float] = []

    def note(progress: FitProgress) -> None:
        marks.append(time.perf_counter())

    engine = build_engine(EngineSettings(kind="ray"), BUDGET)
    fitter = LevelFitter(level=1, spec=spec, metric="cosine", seed=0, on_progress=note)
    began = time.perf_counter()
    with held_inputs(engine, rows, fitter, n_workers=n_workers, device="cpu") as held:
        held.take(np.array([0]))
        ready = time.perf_counter()
        level = fitter.fit(held)
    # The first iteration ends after the seeds. The second searches everything too, so its time stands for the first.
    steps = np.diff(marks)
    digest = hashlib.sha256(level.centroids.tobytes() + level.assignments.tobytes()).hexdigest()
    return Fitted(
        ready - began,
        marks[0] - ready - float(steps[0]),
        float(steps.sum() + steps[0]),
        float(steps.mean()),
        engine.describe()["peak_worker_bytes"],
        digest,
    )


if __name__ == "__main__":
    main()
