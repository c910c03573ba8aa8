"""A simulated cluster for all tests of the Ray engine, and fits to run on it."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from curation_assets.engines.ray.engine import RayEngine
from curation_assets.engines.ray.simulated import SimulatedCluster, simulated_cluster
from curation_assets.pools import EngineSettings
from curation_assets.pools.memory import LEAST_MEMORY_BUDGET

BUDGET = LEAST_MEMORY_BUDGET


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder needs Ray."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.ray)


@pytest.fixture(scope="session")
def cluster() -> Iterator[SimulatedCluster]:
    """A head and two more nodes, one CPU each."""
    with simulated_cluster(3) as simulated:
        yield simulated
        import ray

        ray.shutdown()


@pytest.fixture
def engine(cluster: SimulatedCluster) -> Iterator[RayEngine]:
    """Of two workers on half a CPU each, unless a fit asks for more."""
    yield make_engine(cluster)
    gc.collect()


def make_engine(cluster: SimulatedCluster, *, cpus_per_worker: float = 0.5) -> RayEngine:
    settings = EngineSettings(
        kind="ray", address=cluster.address, workers=2, cpus_per_worker=cpus_per_worker, least_work=1
    )
    return RayEngine(settings, BUDGET)
