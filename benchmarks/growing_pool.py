"""A pool of 10,000 files: a tick of the sensor, `status`, and the work that 100 more files cause.

.venv/bin/python benchmarks/growing_pool.py [--known-shards 10000] [--files 10000] [--folder /tmp/growing]

Part 1 evaluates the sensor on a pool of many shards whose outputs are all up to date, written straight to disk. Part 2
curates a pool of real files, ten per shard, with the command line, adds 100 files and runs it again.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import dagster as dg
import numpy as np
import yaml
from PIL import Image

from curation_assets.defs.run.dead_runs import ACTIVE_STATUSES
from curation_assets.defs.watch import Cursor, Watcher
from curation_assets.formats.base import SourceFile
from curation_assets.graph.freshness import Freshness
from curation_assets.graph.refit import choose_fit_rows
from curation_assets.graph.steps import pool_steps
from curation_assets.pools import PoolSpec, load_pool_spec
from curation_assets.project import Home
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.shards import group_files

LEVELS = [{"n_clusters": k, "resampling_steps": 1} for k in (400, 100, 30, 8)]
POOL = {
    "source": {"path": "raw"},
    # A tiny network with random weights: everything but the encoder is measured.
    "encoder": {"kind": "timm", "model": "test_vit.r160_in1k", "pretrained": False, "batch_size": 256},
    "levels": LEVELS,
    "targets": [{"name": "tenth", "fraction": 0.1}],
    "watch": {"settle_seconds": 0},
    "refit": "never",
}


def peak_megabytes() -> float:  # noqa: D103 - says it
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def write_files(folder: Path, first: int, stop: int) -> None:
    """Write tar files of one small picture each."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(first)
    for number in range(first, stop):
        picture = io.BytesIO()
        tile = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(tile).resize((32, 32), Image.Resampling.BICUBIC).save(picture, "PNG")
        with tarfile.open(folder / f"{number:06}.tar", "w") as archive:
            member = tarfile.TarInfo(f"{number:06}.png")
            member.size = len(picture.getvalue())
            archive.addfile(member, io.BytesIO(picture.getvalue()))


def write_up_to_date_outputs(storage: PoolStorage, spec: PoolSpec, files: list[SourceFile]) -> None:
    """Write the facts of every output, as if all had been made."""
    steps = pool_steps(spec)
    shards = group_files(files, spec.source.files_per_shard)
    storage.save_shards(shards)
    summary = {"n_rows": 10, "rejections": {}, "reasons": [], "decision": "", "tree_version": ""}
    for name, step in steps.items():
        if name == "level_1_initial":
            choose_fit_rows(storage, Freshness(storage, steps, shards))
        freshness = Freshness(storage, steps, shards)
        Path(str(storage.folder), name).mkdir(parents=True, exist_ok=True)
        for key in freshness.keys_of(step):
            recipe = freshness.recipe(name, key)
            facts = {
                "fingerprint": recipe.fingerprint,
                "digest": f"{name}/{key}",
                "settings": recipe.settings,
                "inputs": recipe.inputs,
                "code_version": recipe.code_version,
                "files": {"parquet": "0" * 64, "npy": "0" * 64},
                "summary": summary,
                "parts": {},
                "made_at": "2026-01-01T00:00:00.000000+00:00",
            }
            Path(str(storage.output(name, key).path("facts.json"))).write_text(json.dumps(facts, indent=1))


def look_at_many_shards(folder: Path, n_shards: int) -> None:
    """Part 1."""
    write_files(folder / "raw", 0, 1)
    template = (folder / "raw" / "000000.tar").read_bytes()
    for number in range(1, n_shards):
        (folder / "raw" / f"{number:06}.tar").write_bytes(template)
    spec = PoolSpec.model_validate({"name": "many", **POOL})
    home = Home(folder, str(folder / "curated"), folder / "state")
    from curation_assets.formats import build_reader

    storage = PoolStorage(home.storage_root, "many")
    write_up_to_date_outputs(storage, spec, build_reader(spec.source, folder).list_files())
    home.dagster_state.mkdir(parents=True, exist_ok=True)
    with dg.DagsterInstance.from_config(str(_instance_folder(home.dagster_state))) as instance:
        cursor = Cursor()

        def look(what: str) -> None:
            nonlocal cursor
            cursor = Cursor.read(cursor.text())
            began = time.perf_counter()
            found = Watcher(spec, home, instance, cursor).look(time.time())
            seconds = time.perf_counter() - began
            print(
                f"  {what:<34} {seconds:6.2f} s  cursor {len(cursor.text()):,} bytes, peak {peak_megabytes():,.0f} MB: "
                f"{found.summary[:70]}",
                flush=True,
            )

        print(f"{n_shards:,} known shards, {len(pool_steps(spec))} assets")
        look("first look: adds all partitions")
        look("nothing changed")
        cursor.looked_at = 0.0
        look("nothing changed, every output read")
        write_files(folder / "raw", n_shards, n_shards + 1)
        look("one new shard")
        (folder / "raw" / f"{n_shards:06}.tar").unlink()
        look("it is gone again")
        for _ in range(20):
            cursor.looked_at = 0.0
            Watcher(spec, home, instance, cursor).look(time.time())
        print(f"  after 20 more looks: peak {peak_megabytes():,.0f} MB")


def _instance_folder(folder: Path) -> Path:
    (folder / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    return folder


def curate_many_files(folder: Path, n_files: int) -> None:
    """Part 2."""
    write_files(folder / "raw", 0, n_files)
    (folder / "pools").mkdir()
    settings = {**POOL, "source": {"path": "raw", "files_per_shard": 10}}
    (folder / "pools" / "files.yaml").write_text(yaml.safe_dump(settings))
    home = Home(folder, str(folder / "curated"), folder / "state")
    home.dagster_state.mkdir()
    environment = {
        **os.environ,
        "CURATION_HOME": str(folder),
        "CURATION_STORAGE": home.storage_root,
        "CURATION_STATE": str(home.dagster_state),
        "DAGSTER_HOME": str(_instance_folder(home.dagster_state)),
    }

    def command(*arguments: str) -> float:
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "curation_assets.cli.main", *arguments],
            env=environment,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        return time.perf_counter() - began

    spec = load_pool_spec(folder / "pools" / "files.yaml")
    seconds = command("run", "--pool", "files")
    n_shards = len(PoolStorage(home.storage_root, "files").shards())
    print(
        f"{n_files:,} files in {n_shards:,} shards: run {seconds:.0f} s, i.e. {seconds / n_shards:.2f} s per shard"
    )
    print(f"  status              {command('status', '--pool', 'files'):6.2f} s")
    print(f"  run, nothing to do  {command('run', '--pool', 'files'):6.2f} s")
    with dg.DagsterInstance.from_config(str(home.dagster_state)) as instance:
        before = {run.run_id for run in instance.get_runs()}
        cursor = Cursor()
        Watcher(spec, home, instance, cursor).look(time.time())
        write_files(folder / "raw", n_files, n_files + 100)
        began = time.perf_counter()
        found = Watcher(spec, home, instance, cursor).look(time.time())
        print(f"  tick after 100 more {time.perf_counter() - began:6.2f} s: {found.summary[:100]}")
        assert not instance.get_runs(dg.RunsFilter(statuses=ACTIVE_STATUSES))
        print(f"  run of those        {command('run', '--pool', 'files'):6.2f} s")
        touched: dict[str, set[str | None]] = {}
        for run in instance.get_runs():
            if run.run_id not in before:
                for record in instance.all_logs(
                    run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION
                ):
                    event = record.dagster_event
                    touched.setdefault(event.asset_key.path[-1], set()).add(event.partition)
        print("  partitions touched: " + ", ".join(f"{name} {len(keys)}" for name, keys in touched.items()))


def main() -> None:  # noqa: D103 - see the module
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--known-shards", type=int, default=10_000)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, help="where to work; default: a temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        if options.known_shards:
            look_at_many_shards(Path(folder) / "many", options.known_shards)
        if options.files:
            curate_many_files(Path(folder) / "files", options.files)


if __name__ == "__main__":
    main()
