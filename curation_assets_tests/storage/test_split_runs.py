"""Bucketed runs: every bucket finds its rows, in the pool's order, as they were stored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from curation_assets.algorithms.rows import ArrayRows
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.split_runs import RunRows, SplitRuns
from curation_assets.storage.split_work import SplitChunk, SplitWork


@pytest.fixture
def pool() -> tuple[np.ndarray, np.ndarray]:
    """100 rows of 3 dimensions in 7 coarse clusters, of which two are empty."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(100, 3)).astype(np.float16), rng.choice([0, 1, 2, 4, 5], 100)


def written(folder: Path, x: np.ndarray, clusters: np.ndarray, rows_per_run: int) -> SplitRuns:
    folder.mkdir(exist_ok=True)
    runs = SplitRuns(SplitWork(folder), len(x), rows_per_run)
    for start, stop in runs.missing():
        runs.write(ArrayRows(x), start, stop, clusters[start:stop], 7)
    return runs


@pytest.mark.parametrize("rows_per_run", [7, 30, 1000])
@pytest.mark.parametrize(("first", "last"), [(0, 7), (0, 1), (2, 5), (3, 4), (6, 7)])
def test_a_bucket_is_one_stretch_of_every_run(
    tmp_path: Path, pool: tuple[np.ndarray, np.ndarray], rows_per_run: int, first: int, last: int
) -> None:
    x, clusters = pool
    rows, of_row = written(tmp_path / "w", x, clusters, rows_per_run).bucket(first, last)
    mine = np.flatnonzero((clusters >= first) & (clusters < last))
    assert (rows.n_rows, rows.dimension) == (len(mine), 3)
    assert rows.load().dtype == np.float16
    np.testing.assert_array_equal(rows.load(), rows.read(0, len(mine)))
    for cluster in range(first, last):
        members = np.flatnonzero(of_row == cluster)
        np.testing.assert_array_equal(rows.take(members), x[clusters == cluster].astype(np.float32))
    some = np.random.default_rng(1).integers(0, max(1, len(mine)), min(9, len(mine)))
    np.testing.assert_array_equal(rows.take(some), rows.load()[some])
    middle = slice(len(mine) // 3, len(mine) // 2)
    np.testing.assert_array_equal(rows.read(middle.start, middle.stop), rows.load()[middle])


def test_rows_that_float16_cannot_hold_are_kept_as_they_are(tmp_path: Path) -> None:
    x = np.arange(12, dtype=np.float32).reshape(6, 2)
    x[4, 1] = 1e6
    x[5, 0] = 1 / 3
    runs = written(tmp_path / "w", x, np.array([1, 0, 1, 0, 0, 1]), 4)
    rows, _ = runs.bucket(0, 7)
    assert isinstance(rows, RunRows)
    assert rows.load().dtype == np.float32
    np.testing.assert_array_equal(rows.load(), x[[1, 3, 0, 2, 4, 5]])
    assert np.load(tmp_path / "w" / "run-0-4.npy").dtype == np.float16
    rows, _ = written(tmp_path / "v", x[:4], np.zeros(4, int), 4).bucket(0, 7)
    assert rows.load().dtype == np.float16


def test_a_run_without_its_index_is_written_again_and_runs_of_other_bounds_go(
    tmp_path: Path, pool: tuple[np.ndarray, np.ndarray]
) -> None:
    runs = written(tmp_path / "w", *pool, 40)
    assert runs.missing() == []
    (tmp_path / "w" / "index-40-80.npy").unlink()
    assert runs.missing() == [(40, 80)]
    other = written(tmp_path / "w", *pool, 80)
    assert other.bounds() == [(0, 80), (80, 100)]
    assert {path.name for path in (tmp_path / "w").iterdir()} == {
        "run-0-80.npy", "index-0-80.npy", "run-80-100.npy", "index-80-100.npy",
    }  # fmt: skip


def test_a_new_coarse_fit_makes_runs_and_chunks_worthless(tmp_path: Path) -> None:
    work = SplitWork(tmp_path / "w")
    assert work.coarse() is None
    work.save_coarse(np.eye(3, dtype=np.float32), np.array([0, 2, 2]), (2.0, 1.5))
    work.save_chunk(0, 2, SplitChunk(np.ones((1, 3), np.float32), np.array([0])))
    found = work.coarse()
    assert found is not None
    assert found.assignments.tolist() == [0, 2, 2]
    assert found.counts.tolist() == [1, 0, 2]
    assert found.inertias == (2.0, 1.5)
    assert work.has_chunk(0, 2)
    assert work.chunk_of_cluster(0, 2).tolist() == work.chunk(0, 2).of_cluster.tolist() == [0]
    work.save_coarse(np.eye(3, dtype=np.float32), np.array([0, 1, 2]), (1.0,))
    assert not work.has_chunk(0, 2)


def test_the_working_folder_of_a_remote_store_is_local(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    remote = PoolStorage("memory://bucket/curated", "p").output("level_1_clusters")
    work = SplitWork.of(remote, "a" * 32)
    work.save_coarse(np.eye(2, dtype=np.float32), np.array([0, 1]), (1.0,))
    assert tmp_path in work.folder.parents
    other = PoolStorage("memory://bucket/curated", "q").output("level_1_clusters")
    assert SplitWork.of(other, "a" * 32).coarse() is None
    assert SplitWork.of(remote, "a" * 32).coarse() is not None
    assert SplitWork.of(remote, "b" * 32).coarse() is None
    assert not work.folder.exists()
