"""A simulated cluster of several nodes on this machine, which tests and the demo can kill one by one."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from curation_assets.engines.ray.pool import Holder
from curation_assets.engines.ray.session import LOCAL_ONLY, TOKEN_VARIABLE, private_folder

# A dead node is noticed within two seconds instead of fifteen.
_HEALTH_CHECKS = {
    "RAY_health_check_initial_delay_ms": "0",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "500",
    "RAY_health_check_failure_threshold": "3",
}
_STORE_BYTES = 128 * 2**20


class SimulatedCluster:
    """Nodes on localhost, with a token; each offers `memory` bytes to workers."""

    def __init__(self, cluster: Any, memory: int) -> None:
        self._cluster, self._memory = cluster, memory
        self.nodes: list[Any] = []
        """Ray's nodes in the order they were added; the first is the head."""

    @property
    def address(self) -> str:
        """Address for processes of this machine; the token is in their environment."""
        return str(self._cluster.address)

    def add_node(self, cpus: int = 1) -> Any:
        """Add a node, and return it."""
        # Start nodes one after another: Ray refuses concurrent starts.
        node = self._cluster.add_node(
            num_cpus=cpus, memory=self._memory, object_store_memory=_STORE_BYTES, include_dashboard=False
        )
        self.nodes.append(node)
        return node

    def kill_node(self, number: int) -> None:
        """Kill a node with all its workers, without notifying the others."""
        node = self.nodes[number]
        workers = [child for pid in _processes(node) for child in _children(pid)]
        self._cluster.remove_node(node, allow_graceful=False)
        # Workers outlive the node's processes by a moment, unlike on a machine that dies.
        for pid in workers:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def busy_nodes(self) -> list[int]:
        """Numbers of the nodes that currently have a worker with rows."""
        found = []
        for number, node in enumerate(self.nodes):
            titles = (_title(child) for pid in _processes(node) for child in _children(pid))
            if any(title.startswith(f"ray::{Holder.__name__}") for title in titles):
                found.append(number)
        return found


def _processes(node: Any) -> list[int]:
    """Ray's own processes of a node."""
    return [info.process.pid for infos in node.all_processes.values() for info in infos]


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


@contextmanager
def simulated_cluster(n_nodes: int, *, cpus: int = 1, memory: int = 4 * 10**9) -> Iterator[SimulatedCluster]:
    """A cluster of equal nodes, including the head, for the block; processes started in it inherit the token."""
    settings = {
        **LOCAL_ONLY,
        **_HEALTH_CHECKS,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "token",
        TOKEN_VARIABLE: secrets.token_hex(32),
        "RAY_TMPDIR": private_folder(),
    }
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    try:
        simulated = SimulatedCluster(cluster, memory)
        for _ in range(n_nodes):
            simulated.add_node(cpus)
        yield simulated
    finally:
        cluster.shutdown()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
