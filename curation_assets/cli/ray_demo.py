"""`curation-assets ray-demo`: a pool on a simulated cluster that loses a node during the run."""

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

from curation_assets.cli.terminal import say
from curation_assets.errors import CurationError
from curation_assets.pools import load_pool_spec
from curation_assets.pools.engine import ADDRESS_VARIABLE, ENGINE_VARIABLE, WORKERS_VARIABLE
from curation_assets.project import DAGSTER_HOME_VARIABLE, Home, open_home
from curation_assets.storage.outputs import Output

if TYPE_CHECKING:
    from curation_assets.engines.ray.simulated import SimulatedCluster

KILLED_AFTER = "level_1_initial"
"""The node is killed during the fit that follows this step."""
_POLL_SECONDS = 0.2


def run_ray_demo(pool: str, n_nodes: int) -> int:
    """Curate a pool on a simulated cluster, kill a node during the run, and compare with the local result.

    Args:
        pool: name of a pool that was curated on this machine.
        n_nodes: of the cluster, with one CPU each; the fits use two, the others are spare.

    Returns:
        Exit code: 0 if both selections have the same bytes.

    Raises:
        CurationError: if the pool has no selection to compare with, or the run on the cluster failed.
    """
    from curation_assets.engines.ray.session import require_ray
    from curation_assets.engines.ray.simulated import simulated_cluster

    require_ray()
    console, home = Console(), open_home()
    local = home.storage(pool).output("selection")
    if local.facts() is None:
        raise CurationError(
            f"pool '{pool}' has no selection to compare with: run `curation-assets run --pool {pool}` first"
        )
    folder = _demo_home(home, pool)
    say(console, f"starting a simulated Ray cluster of {n_nodes} nodes on localhost")
    with simulated_cluster(n_nodes) as cluster:
        demo = Home(folder, str(folder / "curated"), folder / "dagster")
        environment = {
            **os.environ,
            **demo.environment,
            DAGSTER_HOME_VARIABLE: str(folder),
            ENGINE_VARIABLE: "ray",
            ADDRESS_VARIABLE: cluster.address,
            WORKERS_VARIABLE: "2",
        }
        command = [sys.executable, "-m", "curation_assets.cli.main", "run", "--pool", pool]
        process = subprocess.Popen(command, env=environment)  # noqa: S603 - this program itself
        storage = demo.storage(pool)
        killed = _kill_a_busy_node(cluster, storage.output(KILLED_AFTER), process)
        if killed is not None:
            say(console, f"killed node {killed} of {n_nodes} and the worker on it", "bold red")
        code = process.wait()
    if code:
        raise CurationError(f"the run on the cluster ended with code {code}; its messages are above")
    if killed is None:
        raise CurationError(
            f"no node was killed, because no worker was found after {KILLED_AFTER}: start the demo again"
        )
    same = _files(local) == _files(storage.output("selection"))
    verdict = "has the same bytes as" if same else "DIFFERS from"
    style = "green" if same else "red"
    say(console, f"the selection made on the cluster {verdict} the one made on one machine", style)
    return 0 if same else 1


def _demo_home(home: Home, pool: str) -> Path:
    """A project folder with the same pool; its fits run on the cluster even if they are small."""
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
    """Wait until a fit has workers, and kill the node of one; None if the run ends first."""
    while process.poll() is None:
        time.sleep(_POLL_SECONDS)
        if after.facts() is None:
            continue
        # Never node 0, the head: the cluster ends with it.
        busy = [number for number in cluster.busy_nodes() if number]
        if busy:
            cluster.kill_node(busy[0])
            return busy[0]
    return None


def _files(output: Output) -> dict[str, str]:
    return dict(output.require_facts().files)
