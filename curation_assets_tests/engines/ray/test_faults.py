"""Workers, nodes and whoever leads the fit are killed while it runs: it goes on, to the same bytes."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from curation_assets.algorithms.hierarchy import FitProgress
from curation_assets.algorithms.kmeans.inputs import FitInputs
from curation_assets.algorithms.kmeans.row_worker import part_bounds
from curation_assets.engines.ray.engine import RayEngine
from curation_assets.engines.ray.simulated import SimulatedCluster
from curation_assets.steps.tree.fit_workers import RowWorkers
from curation_assets_tests.engines.ray.conftest import make_engine
from curation_assets_tests.engines.ray.fits import SignedWorkers, fit_here, fitter, level_bytes, stored_rows


class Fit:
    """A fit on two workers in a thread, that waits at an iteration for something to happen.

    Args:
        engine: where.
        folder: for its rows and the workers' names.
        at: resampling step and iteration after which it waits.
    """

    def __init__(self, engine: RayEngine, folder: Path, at: tuple[int, int] = (1, 2)) -> None:
        self.rows = stored_rows(folder)
        (folder / "made").mkdir()
        self._engine, self._at = engine, at
        self.reached, self._go_on = threading.Event(), threading.Event()
        bounds = part_bounds(self.rows.n_rows, 2)
        leader = fitter(self._note)
        self.workers = SignedWorkers(
            RowWorkers(self.rows, bounds, "cosine", "cpu", leader.memory), folder / "made"
        )
        self.result: object = None
        self.seconds = 0.0

        def run() -> None:
            with engine.hold(self.workers, 2) as pool:
                level = leader.fit(FitInputs(pool, bounds, self.rows.dimension, "cosine"))
                self.result = level_bytes(level)

        self._thread = threading.Thread(target=run)
        self._thread.start()

    def _note(self, progress: FitProgress) -> None:
        if (progress.step, progress.iteration.number) == self._at:
            self.reached.set()
            assert self._go_on.wait(60)

    def interrupted_by(
        self, what: Callable[[], None], meanwhile: Callable[[], None] = lambda: None
    ) -> object:
        """Its result, after something happened in the middle."""
        assert self.reached.wait(120)
        what()
        began = time.monotonic()
        self._go_on.set()
        meanwhile()
        self._thread.join(120)
        self.seconds = time.monotonic() - began
        return self.result


def test_a_killed_worker_is_built_again(engine: RayEngine, tmp_path: Path) -> None:
    fit = Fit(engine, tmp_path)
    assert fit.reached.wait(120)
    ((process, _),) = fit.workers.made(1)
    assert fit.interrupted_by(lambda: os.kill(process, signal.SIGKILL)) == fit_here(fit.rows)
    assert len(fit.workers.made(1)) == 2
    assert len(fit.workers.made(0)) == 1
    # Four seconds were measured on two quiet cores, most of them for importing torch.
    assert fit.seconds < 60


def test_a_killed_node_is_replaced_by_a_spare(cluster: SimulatedCluster, tmp_path: Path) -> None:
    cluster.add_node()
    cluster.add_node()
    fit = Fit(make_engine(cluster, cpus_per_worker=1.0), tmp_path)
    assert fit.reached.wait(120)
    victim = next(number for number in (0, 1) if _place(cluster, fit.workers.made(number)[0][1]))
    node = fit.workers.made(victim)[0][1]
    assert fit.interrupted_by(lambda: cluster.kill_node(_place(cluster, node))) == fit_here(fit.rows)
    made = fit.workers.made(victim)
    assert len(made) == 2
    assert made[1][1] != node
    assert fit.seconds < 60


@pytest.mark.slow
def test_without_a_spare_it_waits_for_a_node(cluster: SimulatedCluster, tmp_path: Path) -> None:
    with_room = Room(cluster)
    fit = Fit(make_engine(cluster, cpus_per_worker=4.0), tmp_path)
    assert fit.reached.wait(120)
    victim = next(number for number in (0, 1) if fit.workers.made(number)[0][1] == with_room.second)

    def later() -> None:
        time.sleep(8)
        assert fit.result is None
        cluster.add_node(4)

    assert fit.interrupted_by(
        lambda: cluster.kill_node(_place(cluster, with_room.second)), later
    ) == fit_here(fit.rows)
    assert len(fit.workers.made(victim)) == 2


class Room:
    """Two nodes of four CPUs each, where nothing else can place workers that need four."""

    def __init__(self, cluster: SimulatedCluster) -> None:
        self.first, self.second = (_node_id(cluster.add_node(4)) for _ in range(2))


def _node_id(node: object) -> str:
    return str(node.node_id)  # type: ignore[attr-defined]


def _place(cluster: SimulatedCluster, node: str) -> int:
    """Number of the node in the cluster; 0 is the head, which stays."""
    return next(number for number, known in enumerate(cluster.nodes) if _node_id(known) == node)
