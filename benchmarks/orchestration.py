"""The cost of running 1,000 small shards through the whole graph, beyond the work of the steps.

.venv/bin/python benchmarks/orchestration.py [--shards 1000] [--rows 16] [--folder /tmp]

Makes a pool of small precomputed embeddings in a temporary folder and curates it for the first time, as
`curation-assets run` does. The work of a step is the time from receiving an output to write until it is written.
All else is overhead: listing, deciding what is up to date, digests, atomic files, Dagster.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sqlite3
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml

POOL = "shards"
DIMENSION = 32


def write_pool(folder: Path, n_shards: int, n_rows: int, n_levels: int) -> None:
    """Write a .npy and a .parquet per shard, and the settings of the pool."""
    raw = folder / "raw"
    raw.mkdir()
    (folder / "pools").mkdir()
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(200, DIMENSION))
    for number in range(n_shards):
        rows = centres[rng.integers(0, 200, n_rows)] + 0.3 * rng.normal(size=(n_rows, DIMENSION))
        np.save(raw / f"{number:05}.npy", rows.astype(np.float16))
        ids = [f"{number:05}-{row}" for row in range(n_rows)]
        pl.DataFrame({"id": ids, "n_tokens": rng.integers(1, 9, n_rows)}).write_parquet(
            raw / f"{number:05}.parquet"
        )
    source = {
        "format": "embeddings",
        "layout": "folder",
        "path": "raw",
        "encoder": "made up",
        "id_field": "id",
    }
    most = max(2, n_shards * n_rows // 10)
    pool = {
        "source": source | {"token_count_field": "n_tokens"},
        "deduplication": {"exact": False, "semantic": True},
        "levels": [
            {"n_clusters": max(2, min(most, 400) // 4**level), "resampling_steps": 1}
            for level in range(n_levels)
        ],
        "targets": [{"name": "tenth", "fraction": 0.1}, {"name": "few_tokens", "tokens": 1000}],
        "outputs": ["parquet"],
    }
    (folder / "pools" / f"{POOL}.yaml").write_text(yaml.safe_dump(pool))
    shutil.copy(Path(__file__).parent.parent / "dagster.yaml", folder)


class Clock:
    """Seconds per asset: of the whole step, and of its own work."""

    def __init__(self) -> None:
        self.step: Counter[str] = Counter()
        self.work: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()

    def watch_steps(self) -> None:
        """Time every step of this process from now on."""
        from curation_assets.defs.run.step_run import StepRun
        from curation_assets.steps.context import StepContext
        from curation_assets.steps.registry import code_of

        run = StepRun.run

        def timed_run(this: StepRun) -> Any:
            code, name = code_of(this.step), this.step.name

            def timed_make(step: StepContext) -> None:
                began = time.perf_counter()
                code.make(step)
                self.work[name] += time.perf_counter() - began
                self.calls[name] += 1

            # A cached property keeps its value there.
            vars(this)["code"] = replace(code, make=timed_make)
            began = time.perf_counter()
            try:
                return run(this)
            finally:
                self.step[name] += time.perf_counter() - began

        StepRun.run = timed_run  # type: ignore[method-assign]


def event_bytes(state: Path) -> dict[str, tuple[int, int]]:
    """Asset -> materializations, and the bytes of their events in all databases."""
    found: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    query = "select asset_key, count(*), sum(length(event)) from event_logs where dagster_event_type = ? group by 1"
    for path in (state / "history").rglob("*.db"):
        with sqlite3.connect(path) as connection:
            tables = {name for (name,) in connection.execute("select name from sqlite_master")}
            if "event_logs" not in tables:
                continue
            for key, count, size in connection.execute(query, ["ASSET_MATERIALIZATION"]):
                entry = found[key.split('"')[-2]]
                entry[0] += count if path.stem == "index" else 0
                entry[1] += size
    return {name: (count, size) for name, (count, size) in found.items()}


def main() -> None:  # noqa: D103 - see the module
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=16, help="rows of a shard")
    parser.add_argument("--levels", type=int, default=4, help="levels of the tree")
    parser.add_argument("--folder", type=Path, help="where to work; default: a temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder, state = Path(name), Path(name) / "state"
        write_pool(folder, options.shards, options.rows, options.levels)
        os.environ |= {
            "CURATION_HOME": name,
            "CURATION_STORAGE": str(folder / "curated"),
            "CURATION_STATE": str(state),
            "DAGSTER_HOME": name,
        }
        clock = Clock()
        began = time.perf_counter()
        from curation_assets.cli.run import run_pool

        clock.watch_steps()
        if code := run_pool(POOL, first=None, shards=None):
            raise SystemExit(code)
        wall = time.perf_counter() - began
        show(clock, wall, options.shards, state)


def show(clock: Clock, wall: float, n_shards: int, state: Path) -> None:
    """Print the table."""
    events = event_bytes(state)
    print(
        f"\n{'asset':<18} {'outputs':>7} {'work s':>8} {'keeping s':>9} {'ms/output':>9} {'event bytes/output':>18}"
    )
    for name, seconds in clock.step.items():
        keeping = seconds - clock.work[name]
        n_outputs, size = events.get(name, (0, 0))
        print(
            f"{name:<18} {clock.calls[name]:>7,} {clock.work[name]:>8.2f} {keeping:>9.2f} "
            f"{1000 * keeping / max(1, clock.calls[name]):>9.2f} {size / max(1, n_outputs):>18,.0f}"
        )
    work, inside = sum(clock.work.values()), sum(clock.step.values())
    database = sum(path.stat().st_size for path in state.rglob("*") if path.is_file())
    print(
        f"\n{n_shards:,} shards, {len(clock.step)} assets, {sum(clock.calls.values()):,} outputs\n"
        f"wall                           {wall:8.1f} s\n"
        f"the steps' own work            {work:8.1f} s\n"
        f"judging and keeping outputs    {inside - work:8.1f} s\n"
        f"Dagster, checks, planning      {wall - inside:8.1f} s\n"
        f"overhead per shard             {(wall - work) / n_shards:8.3f} s\n"
        f"Dagster's databases            {database / 1e6:8.1f} MB"
    )


if __name__ == "__main__":
    main()
