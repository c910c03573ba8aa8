"""One new shard in a pool of many small ones: by the sensor and a real daemon, and by the command line.

.venv/bin/python benchmarks/arrival.py [--shards 100] [--arrivals 3] [--folder /tmp]

Makes a pool of small precomputed embeddings in a temporary folder, curates it, and starts Dagster's daemon with the
pool's sensor on. Then shards arrive one by one. Every second one is curated by `curation-assets run` (wall time of the
command), the others by the sensor (from the tick that sees the shard until its run has ended).
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
from orchestration import DIMENSION, POOL, write_pool

from curation_assets.defs.run.dead_runs import ACTIVE_STATUSES
from curation_assets.defs.run.job_names import curate_job
from curation_assets.defs.run.tags import PARENT_RUN_TAG
from curation_assets.defs.sensors import sensor_name

REPOSITORY = Path(__file__).parent.parent


def drop(raw: Path, number: int, n_rows: int) -> None:
    """Write one more shard, like the others."""
    centres = np.random.default_rng(0).normal(size=(200, DIMENSION))
    rng = np.random.default_rng(number)
    rows = centres[rng.integers(0, 200, n_rows)] + 0.3 * rng.normal(size=(n_rows, DIMENSION))
    ids = [f"{number:05}-{row}" for row in range(n_rows)]
    table = pl.DataFrame({"id": ids, "n_tokens": rng.integers(1, 9, n_rows)})
    # Old enough for the sensor, which waits until a file has been the same for a while.
    past = time.time() - 60
    for suffix, write in (
        (".parquet", table.write_parquet),
        (".npy", lambda path: np.save(path, rows.astype("f2"))),
    ):
        path = raw.parent / f"{number:05}{suffix}"
        write(path)
        os.utime(path, (past, past))
        path.rename(raw / path.name)


def by_command(environment: dict[str, str]) -> float:
    """Seconds that the command line takes."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "curation_assets.cli.main", "run", "--pool", POOL]
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def wait_until_quiet(instance: dg.DagsterInstance) -> None:
    """Until no run is queued or in progress."""
    while instance.get_runs(dg.RunsFilter(statuses=ACTIVE_STATUSES), limit=1):
        time.sleep(0.2)


def by_sensor(instance: dg.DagsterInstance, known: set[str]) -> tuple[float, float, int]:
    """Seconds from the tick to the end of its run, seconds of that until the run started, and the run's waves."""
    [state] = [state for state in instance.all_instigator_state() if state.name == sensor_name(POOL)]
    while True:
        runs = instance.get_run_records(dg.RunsFilter(job_name=curate_job(POOL)))
        new = [record for record in runs if record.dagster_run.run_id not in known]
        if new and all(record.dagster_run.is_finished for record in new):
            break
        time.sleep(0.2)
    [record] = new
    assert record.dagster_run.is_success, record
    ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=10)
    [tick] = [tick for tick in ticks if record.dagster_run.run_id in tick.run_ids]
    waves = instance.get_runs(dg.RunsFilter(tags={PARENT_RUN_TAG: record.dagster_run.run_id}))
    assert record.start_time
    assert record.end_time
    return record.end_time - tick.timestamp, record.start_time - tick.timestamp, len(waves)


def main() -> None:  # noqa: D103 - see the module
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=100)
    parser.add_argument("--rows", type=int, default=16, help="rows of a shard")
    parser.add_argument("--arrivals", type=int, default=3, help="of each kind")
    parser.add_argument("--folder", type=Path, help="where to work; default: a temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        write_pool(folder, options.shards, options.rows, 3)
        shutil.copy(REPOSITORY / "workspace.yaml", folder)
        variables = {
            "CURATION_HOME": name,
            "CURATION_STORAGE": str(folder / "curated"),
            "CURATION_STATE": str(folder / "state"),
            "DAGSTER_HOME": name,
            "PYTHONPATH": str(REPOSITORY),
        }
        os.environ |= variables
        print(f"first run: {by_command(dict(os.environ)):.1f} s", flush=True)
        dagster = [sys.executable, "-m", "dagster"]
        workspace = ["-w", str(folder / "workspace.yaml")]
        subprocess.run(
            [*dagster, "sensor", "start", sensor_name(POOL), *workspace],
            check=True,
            capture_output=True,
        )
        with (folder / "daemon.log").open("w") as log, dg.DagsterInstance.get() as instance:
            daemon = subprocess.Popen(
                [sys.executable, "-m", "dagster._daemon", "run", *workspace],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
            )
            try:
                compare(folder, instance, options)
            finally:
                daemon.send_signal(signal.SIGINT)
                daemon.wait(60)


def compare(folder: Path, instance: dg.DagsterInstance, options: argparse.Namespace) -> None:
    """Shards arrive in turn, and the times are printed."""
    commands, ticks = [], []
    time.sleep(30)
    for number in range(options.shards, options.shards + 2 * options.arrivals, 2):
        wait_until_quiet(instance)
        # The command holds the pool's lock, so the sensor does nothing meanwhile.
        drop(folder / "raw", number, options.rows)
        commands.append(by_command(dict(os.environ)))
        # A tick just before the command may have requested a run, which finds nothing to do.
        wait_until_quiet(instance)
        known = set(instance.get_run_ids())
        drop(folder / "raw", number + 1, options.rows)
        ticks.append(by_sensor(instance, known))
        seconds, waited, n_waves = ticks[-1]
        print(
            f"command line {commands[-1]:5.1f} s; sensor {seconds:5.1f} s from its tick, {waited:.1f} s of them until "
            f"its one run started, {n_waves} waves",
            flush=True,
        )
    command, tick = statistics.median(commands), statistics.median(seconds for seconds, _, _ in ticks)
    print(f"median: command line {command:.1f} s, sensor {tick:.1f} s, ratio {tick / command:.2f}")


if __name__ == "__main__":
    main()
