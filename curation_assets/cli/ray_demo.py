"""`curation-assets ray-demo`: a pool on a simulated cluster, of which a node dies in the middle."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from rich.console import Console

from curation_assets.errors import CurationError
from curation_assets.pools import load_pool_spec
from curation_assets.project import open_home
from curation_assets.storage.outputs import Output
from curation_assets.storage.pool_storage import PoolStorage

if TYPE_CHECKING:
    from curation_assets.engines.ray.simulated import SimulatedCluster
    from curation_assets.project import Home

KILLED_AFTER = "level_1_initial"
"""When this is stored, the next fit begins: its workers are what the killed node takes with it."""
_POLL_SECONDS = 0.2


def run_ray_demo(pool: str, n_nodes: int) -> int:
    """Curate a pool on a simulated cluster, kill a node meanwhile, and compare with the local result.

    Args:
        pool: name of a pool that was curated on this machine alone.
        n_nodes: of the cluster, of one CPU each; the fits use two, the others are spare.

    Returns:
        Exit code: 0 if the selections are the same to the byte.

    Raises:
        CurationError: if the pool has no selection to compare with, or the run on the cluster failed.
    """
    from curation_assets.engines.ray.session import require_ray
    from curation_assets.engines.ray.simulated import simulated_cluster

    require_ray()
    console, home = Console(), open_home()
    local = PoolStorage(home.storage_root, pool).output("selection")
    if local.facts() is None:
        raise CurationError(
            f"pool '{pool}' has no selection yet: first run curation-assets run --pool {pool}"
        )
    folder = _demo_home(home, pool)
    console.print(f"starting {n_nodes} simulated nodes, on loopback and with a token", highlight=False)
    with simulated_cluster(n_nodes) as cluster:
        environment = os.environ | {
            "CURATION_HOME": str(folder),
            "CURATION_STORAGE": str(folder / "curated"),
            "CURATION_STATE": str(folder / "dagster"),
            "DAGSTER_HOME": str(folder),
            "CURATION_ENGINE": "ray",
            "CURATION_RAY_ADDRESS": cluster.address,
            "CURATION_RAY_WORKERS": "2",
        }
        command = [sys.executable, "-m", "curation_assets.cli.main", "run", "--pool", pool]
        process = subprocess.Popen(command, env=environment)  # noqa: S603 - this program itself
        storage = PoolStorage(environment["CURATION_STORAGE"], pool)
        killed = _kill_a_busy_node(cluster, storage.output(KILLED_AFTER), process)
        if killed is not None:
            console.print(f"killed node {killed} of {n_nodes} with the worker on it", style="bold red")
        code = process.wait()
    if code:
        raise CurationError(f"the run on the cluster ended with code {code}: its messages are above")
    if killed is None:
        raise CurationError(f"no node was killed, as no worker was seen after {KILLED_AFTER}: run it again")
    same = _files(local) == _files(storage.output("selection"))
    verdict = "the same bytes" if same else "DIFFERENT bytes"
    console.print(f"selection on one machine and on the cluster: {verdict}", style="green" if same else "red")
    return 0 if same else 1


def _demo_home(home: Home, pool: str) -> Path:
    """A project folder with the same pool, whose fits are shared out however small they are."""
    folder = home.folder / "data" / "ray_demo"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "pools").mkdir(parents=True)
    source = home.pools_folder / f"{pool}.yaml"
    load_pool_spec(source)
    settings = yaml.safe_load(source.read_text(encoding="utf-8"))
    settings["source"]["path"] = str(home.folder / settings["source"]["path"])
    settings["engine"] = {"kind": "ray", "least_work": 1}
    (folder / "pools" / f"{pool}.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    if (home.folder / "dagster.yaml").exists():
        shutil.copy(home.folder / "dagster.yaml", folder)
    return folder


def _kill_a_busy_node(
    cluster: SimulatedCluster, after: Output, process: subprocess.Popen[bytes]
) -> int | None:
    """Wait until a fit has workers, and kill a node of one; None if the run ended before."""
    while process.poll() is None:
        time.sleep(_POLL_SECONDS)
        if after.facts() is None:
            continue
        # Of the head's workers nothing can be shown: the cluster ends with it.
        busy = [number for number in cluster.busy_nodes() if number]
        if busy:
            cluster.kill_node(busy[0])
            return busy[0]
    return None


def _files(output: Output) -> dict[str, str]:
    return dict(output.require_facts().files)
