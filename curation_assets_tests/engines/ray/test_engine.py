"""Tasks and workers on a simulated cluster: the same bytes as in one process."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from curation_assets.engines.ray.engine import RayEngine
from curation_assets_tests.engines.ray.conftest import BUDGET
from curation_assets_tests.engines.ray.fits import fit_here, fit_on, stored_rows


@pytest.mark.parametrize("n_workers", [1, 2, 3])
def test_any_number_of_workers_gives_the_same_bytes(
    engine: RayEngine, tmp_path: Path, n_workers: int
) -> None:
    rows = stored_rows(tmp_path)
    assert fit_on(engine, rows, n_workers) == fit_here(rows)
    said = engine.describe()
    assert (said["kind"], said["workers"]) == ("ray", 2)
    assert 10**8 < said["peak_worker_bytes"] < BUDGET


def test_results_come_with_the_number_of_their_item(engine: RayEngine) -> None:
    taken = []

    def items() -> object:
        for number in range(30):
            taken.append(number)
            yield np.full(3, number)

    results = {}
    for number, result in engine.map(np.sum, items()):  # type: ignore[arg-type]
        results[number] = int(result)
        # Items are taken as there is room for them, not all at once.
        assert len(taken) <= len(results) + engine.n_workers
    assert results == {number: 3 * number for number in range(30)}


def test_the_error_of_an_item_is_raised_as_it_was(engine: RayEngine) -> None:
    with pytest.raises(ZeroDivisionError):
        list(engine.map(_inverse, [1, 0]))


def _inverse(number: int) -> float:
    return 1 / number


@dataclass(frozen=True)
class DieOnce:
    """Kills its process the first time it meets item 3."""

    folder: Path

    def __call__(self, item: int) -> int:
        marker = self.folder / "died"
        if item == 3 and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return item * item


def test_an_item_whose_process_is_killed_is_run_again(engine: RayEngine, tmp_path: Path) -> None:
    assert dict(engine.map(DieOnce(tmp_path), range(6))) == {n: n * n for n in range(6)}
    assert (tmp_path / "died").exists()


def test_sums_are_merged_by_the_workers_where_they_are_large(
    engine: RayEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from curation_assets.engines.ray import pool

    monkeypatch.setattr(pool, "_MERGED_BY_LEADER_BYTES", 0)
    rows = stored_rows(tmp_path)
    assert fit_on(engine, rows, 3, steps=0) == fit_here(rows, steps=0)
