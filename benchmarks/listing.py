"""The cost of the listing of a large pool: seconds and peak memory of what reads or writes it.

.venv/bin/python benchmarks/listing.py [--files 1000000] [--per-shard 1000] [--folder /tmp]

Makes empty files in a temporary folder and removes them in the end. Each stage is a process of its own; its seconds do
not include the start of Python.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import yaml

POOL = "listed"
PER_FOLDER = 1_000


def make_files(raw: Path, n_files: int) -> None:
    """Write empty files in folders of a thousand."""
    for first in range(0, n_files, PER_FOLDER):
        folder = raw / f"{first // PER_FOLDER:05}"
        folder.mkdir(parents=True)
        for number in range(first, min(n_files, first + PER_FOLDER)):
            os.close(os.open(f"{folder}/{number:09}.jpg", os.O_CREAT | os.O_WRONLY, 0o644))


def write_pool(folder: Path, per_shard: int) -> None:
    """Write the settings of a pool of these files."""
    pool = {
        "source": {
            "format": "folder",
            "modality": "image",
            "path": "raw",
            "pattern": "**/*.jpg",
            "files_per_shard": per_shard,
        },
        "encoder": {"kind": "bundled"},
        "levels": [{"n_clusters": 2}],
        "targets": [{"name": "tenth", "fraction": 0.1}],
    }
    (folder / "pools").mkdir()
    (folder / "pools" / f"{POOL}.yaml").write_text(yaml.safe_dump(pool), encoding="utf-8")


def stages() -> dict[str, Callable[[], object]]:
    """What is measured, by name. Everything is imported before the clock starts."""
    import dagster as dg

    from curation_assets.cli.status import show_status
    from curation_assets.defs.run.driver import Driver
    from curation_assets.defs.watch import Cursor, Watcher
    from curation_assets.project import find_spec, open_home

    home = open_home()
    spec = find_spec(home, POOL)
    instance = dg.DagsterInstance.ephemeral()
    driver = Driver(home, spec, instance)
    cursor = Cursor()

    def tick() -> str:
        return Watcher(spec, home, instance, cursor).look(time.time() + 3600).summary

    def shard() -> int:
        return len(list(driver.storage.shards()[-1].files))

    return {
        "list the files": lambda: len(driver.pool.reader.look().files),
        "first listing: grouped, stored": lambda: len(driver.sync_shards(driver.list_files()).shards),
        "tick of the sensor": tick,
        "status": lambda: show_status(POOL),
        "status --listing": lambda: show_status(POOL, list_files=True),
        "the shards, without their files": lambda: len(driver.storage.shards()),
        "the files of one shard": shard,
    }


def peak_gigabytes() -> float:
    """Peak memory of this process on Linux. `getrusage` would count the process that started it."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1e6


def measure(name: str) -> None:
    """Run one stage in this process and print its figures."""
    work = stages()[name]
    began = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        result = work()
    seconds = time.perf_counter() - began
    print(f"| {name} | {seconds:.2f} s | {peak_gigabytes():.2f} GB |", flush=True)
    if isinstance(result, str):
        print(f"  {result[:200]}", flush=True)


def main() -> None:
    """Make the files and measure each stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--per-shard", type=int, default=1_000)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        measure(options.stage)
        return
    from machine import describe_machine

    folder = Path(tempfile.mkdtemp(dir=options.folder))
    try:
        began = time.perf_counter()
        make_files(folder / "raw", options.files)
        write_pool(folder, options.per_shard)
        print(describe_machine("pyarrow", "dagster"))
        print(f"{options.files:,} files made in {time.perf_counter() - began:.0f} s", flush=True)
        os.environ |= {"CURATION_HOME": str(folder), "DAGSTER_HOME": str(folder)}
        names = list(stages())
        for name in names:
            subprocess.run([sys.executable, __file__, "--stage", name], check=True)
        stored = folder / "data" / "curated" / POOL
        for path in sorted(stored.glob("*")) if stored.exists() else ():
            print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
