"""Peak memory of each asset of a large pool of precomputed embeddings, in a process of its own.

.venv/bin/python benchmarks/out_of_core.py [--rows 5000000] [--shards 100] [--fit-rows 1000000] [--folder /tmp/large]

Writes clustered unit rows (float16) with Parquet ids, then runs the steps of the pool one after the other through
Dagster, as the command line does, and prints seconds and peak memory of each. Without --fit-rows level 1 is fitted
on all rows, which takes hours on two cores. With --folder the files are kept, and existing outputs are not made
again.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

N_CONCEPTS = 20_000


def write_pool(folder: Path, options: argparse.Namespace) -> None:
    """Write arrays, the Parquet files of their ids, and the YAML of the pool."""
    import numpy as np
    import polars as pl

    rng = np.random.default_rng(0)
    centres = rng.standard_normal((N_CONCEPTS, options.dimension), dtype=np.float32)
    shares = 1 / np.arange(1, N_CONCEPTS + 1)
    cumulative = np.cumsum(shares / shares.sum())
    bounds = np.linspace(0, options.rows, options.shards + 1).astype(int)
    (folder / "raw").mkdir(parents=True, exist_ok=True)
    for shard in range(options.shards):
        path = folder / "raw" / f"{shard:05}.npy"
        if path.with_suffix(".parquet").exists():
            continue
        rng = np.random.default_rng([1, shard])
        n_rows = int(bounds[shard + 1] - bounds[shard])
        concept = np.minimum(np.searchsorted(cumulative, rng.random(n_rows)), N_CONCEPTS - 1)
        rows = rng.standard_normal((n_rows, options.dimension), dtype=np.float32)
        rows += 1.2 * centres[concept]
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        np.save(path, rows.astype(np.float16))
        ids = pl.DataFrame({"id": [f"{bounds[shard] + row:09}" for row in range(n_rows)]})
        ids.write_parquet(path.with_suffix(".parquet"))
    fit = {"resampling_steps": options.resampling_steps, "max_iterations": options.iterations}
    pool = {
        "source": {
            "format": "embeddings", "path": "raw", "layout": "folder", "pattern": "*.npy",
            "encoder": "drawn", "id_field": "id",
        },
        "memory_budget": options.memory_budget,
        "fit_rows": options.fit_rows,
        "levels": [{"n_clusters": k} | fit for k in options.clusters],
        "targets": [{"name": "tenth", "fraction": 0.1}, {"name": "small", "size": min(10_000, options.rows)}],
        **({"deduplication": {"threshold": 0.95}} if options.deduplicate else {}),
    }  # fmt: skip
    (folder / "pools").mkdir(exist_ok=True)
    (folder / "pools" / "large.yaml").write_text(yaml.safe_dump(pool))
    (folder / "state").mkdir(exist_ok=True)
    (folder / "state" / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")


def make_step(name: str) -> int:
    """Bring one step up to date in this process; returns the exit code."""
    import dagster as dg
    from rich.console import Console

    from curation_assets.cli.runner import Runner
    from curation_assets.defs.run.driver import Driver
    from curation_assets.project import find_spec, open_home

    home = open_home()
    with dg.DagsterInstance.get() as instance:
        runner = Runner(Driver(home, find_spec(home, "large"), instance), Console(stderr=True))
        if name == "raw_pool":
            runner.sync_shards()
        return 0 if runner.bring_up_to_date([name]) else 1


def peak_of(name: str, environment: dict[str, str]) -> tuple[float, float]:
    """Seconds and peak resident megabytes of the process that makes a step.

    Raises:
        SystemExit: if it fails.
    """
    began = time.perf_counter()
    child = subprocess.Popen([sys.executable, __file__, "--step", name], env=environment)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{name} failed")
    return time.perf_counter() - began, usage.ru_maxrss / 1024 * 1.048576


def measure(folder: Path, options: argparse.Namespace) -> None:
    """Make the pool and print the table."""
    from curation_assets.graph.steps import pool_steps
    from curation_assets.pools import load_pool_spec

    began = time.perf_counter()
    # In a process of its own: the peak of a child starts at that of its parent.
    subprocess.run([sys.executable, __file__, *sys.argv[1:], "--folder", str(folder), "--write"], check=True)
    spec = load_pool_spec(folder / "pools" / "large.yaml")
    environment = {
        **os.environ,
        "CURATION_HOME": str(folder),
        "CURATION_STORAGE": str(folder / "curated"),
        "CURATION_STATE": str(folder / "state"),
        "DAGSTER_HOME": str(folder / "state"),
        "PYTHONPATH": str(Path(__file__).parent.parent),
    }
    budget = spec.memory_budget / 1e6
    print(
        f"{options.rows:,} rows x {options.dimension} in {options.shards} shards, written in "
        f"{time.perf_counter() - began:.0f} s; budget {budget:,.0f} MB, fit_rows {options.fit_rows}\n"
    )
    print(f"{'asset':<22} {'seconds':>8} {'peak MB':>8}  within budget")
    for name in pool_steps(spec):
        seconds, peak = peak_of(name, environment)
        print(f"{name:<22} {seconds:8.1f} {peak:8,.0f}  {'yes' if peak <= budget else 'NO'}", flush=True)
        if name == options.until:
            break


def main() -> None:  # noqa: D103 - see the module
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--dimension", type=int, default=384)
    parser.add_argument("--shards", type=int, default=100)
    parser.add_argument("--fit-rows", type=int)
    parser.add_argument("--clusters", type=int, nargs="+", default=[5_000, 500, 100, 20])
    parser.add_argument("--until", help="last step to make")
    parser.add_argument("--memory-budget", default="2 GB")
    parser.add_argument("--resampling-steps", type=int, default=2)
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--deduplicate", action="store_true")
    parser.add_argument("--folder", type=Path, help="where to work; default: a temporary folder")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    parser.add_argument("--write", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        write_pool(options.folder, options)
        return
    if options.step:
        raise SystemExit(make_step(options.step))
    if options.folder:
        measure(options.folder, options)
        return
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), options)


if __name__ == "__main__":
    main()
