"""Working files of a fit: what is kept, what goes, and what belongs to another fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from upath import UPath

from curation_assets.storage.fit_work import FitWork, StoredFit
from curation_assets.storage.outputs import Output


def state(n_iterations: int) -> StoredFit:
    centroids = np.full((3, 2), n_iterations, dtype=np.float32)
    return StoredFit(centroids, tuple(1 / (i + 3) for i in range(n_iterations)), 7 - n_iterations)


@pytest.fixture(params=["local", "memory"])
def output(request: pytest.FixtureRequest, tmp_path: Path) -> Output:
    root = tmp_path if request.param == "local" else f"memory://{tmp_path.name}"
    return Output(UPath(root) / "level_1_initial", None)


def names(work: FitWork) -> list[str]:
    return sorted(path.name for path in work.folder.glob("*"))


def test_the_last_two_states_are_kept(output: Output) -> None:
    work = FitWork.of(output, "recipe", 0.0)
    states = work.states(0)
    assert states.last() is None
    for n_iterations in range(4):
        states.keep(state(n_iterations))
    assert names(work) == ["state-0-2.npz", "state-0-3.npz"]
    found = FitWork.of(output, "recipe").states(0).last()
    assert found is not None
    assert found.inertias == state(3).inertias
    assert found.n_reassigned == 4
    np.testing.assert_array_equal(found.centroids, state(3).centroids)
    assert work.states(1).last() is None


def test_states_come_no_faster_than_asked(output: Output) -> None:
    work = FitWork.of(output, "recipe", 3600.0)
    work.states(0).keep(state(1))
    assert not work.folder.exists()


def test_a_finished_step_replaces_its_states_and_the_step_before(output: Output) -> None:
    work = FitWork.of(output, "recipe", 0.0)
    assert work.finished_step() is None
    work.states(9).keep(state(1))
    work.finish_step(9, state(2).centroids, [[3.0, 2.0]])
    work.states(10).keep(state(1))
    work.finish_step(10, state(3).centroids, [[3.0, 2.0], [1.5]])
    assert names(work) == ["step-10.npz"]
    found = work.finished_step()
    assert found is not None
    assert found.step == 10
    assert found.inertias == [[3.0, 2.0], [1.5]]
    np.testing.assert_array_equal(found.centroids, state(3).centroids)


def test_files_of_another_fit_go(output: Output) -> None:
    old = FitWork.of(output, "one recipe", 0.0)
    old.states(0).keep(state(1))
    new = FitWork.of(output, "two recipe", 0.0)
    assert new.states(0).last() is None
    assert not old.folder.exists()
    new.states(0).keep(state(1))
    new.remove()
    assert not new.folder.exists()
    new.remove()
