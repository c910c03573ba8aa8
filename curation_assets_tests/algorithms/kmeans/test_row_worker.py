"""One worker's part of the rows: its bounds, its stages, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.algorithms.kmeans.row_worker import BLOCK_ROWS, RowsPart, RowWorker, part_bounds
from curation_assets.algorithms.kmeans.tiles import TiledRows
from curation_assets_tests.algorithms.small_fits import blobs, prepared


@given(st.integers(0, 10 * BLOCK_ROWS), st.integers(1, 12))
def test_parts_are_whole_blocks_and_hold_every_row_once(n_rows: int, n_workers: int) -> None:
    bounds = part_bounds(n_rows, n_workers)
    assert len(bounds) == n_workers + 1
    assert (bounds[0], bounds[-1]) == (0, n_rows)
    assert (np.diff(bounds) >= 0).all()
    assert all(edge % BLOCK_ROWS == 0 for edge in bounds[:-1] if edge < n_rows)
    assert np.diff(bounds).max() <= (-(-n_rows // BLOCK_ROWS) // n_workers + 1) * BLOCK_ROWS


def test_a_part_reads_as_a_matrix_of_its_own() -> None:
    part = RowsPart(prepared(np.arange(10.0)[:, None]), 3, 8)
    assert (part.n_rows, part.dimension) == (5, 1)
    assert part.read(1, 3)[:, 0].tolist() == [4, 5]
    assert part.take(np.array([4, 0]))[:, 0].tolist() == [7, 3]


def test_rows_outside_the_fit_are_assigned_to_its_centroids_too() -> None:
    rows = prepared(blobs(0))
    worker = RowWorker(TiledRows(rows, "cpu"), 0, "l2")
    chosen = np.arange(0, 600, 3)
    worker.select(chosen, None)
    centroids = rows.read(0, 10)
    worker.begin(centroids, 1)
    assignments, distances = worker.assign_all(centroids)
    squared = ((rows.read(0, 600)[:, None].astype(np.float64) - centroids) ** 2).sum(-1)
    np.testing.assert_array_equal(assignments, squared.argmin(1))
    np.testing.assert_allclose(distances, np.sqrt(squared.min(1)), atol=1e-6)
    np.testing.assert_array_equal(worker.result()[0], assignments[chosen])


def test_arrays_of_another_process_are_read_only() -> None:
    rows = prepared(blobs(0))
    worker = RowWorker(TiledRows(rows, "cpu"), 0, "l2")
    weights = np.full(600, 2.0)
    weights.flags.writeable = False
    worker.select(None, weights)
    centroids = rows.read(0, 10)
    centroids.flags.writeable = False
    squared, (delta,) = worker.begin(centroids, 1)
    assert delta.counts.sum() == 1200
    assert squared.tolist() == pytest.approx([2 * float((rows.read(0, 600).astype(float) ** 2).sum())])


def test_no_stage_wakes_threads_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    # Once woken they turn round for milliseconds on the cores that ranges of rows are shared out to.
    seen = []
    worker = RowWorker(TiledRows(prepared(blobs(2)), "cpu"), 0, "l2")
    for name in ("subset", "take", "each_tile", "norms"):
        original = getattr(TiledRows, name)

        def noting(self: TiledRows, *arguments: Any, original: Any = original) -> Any:
            seen.append(torch.get_num_threads())
            return original(self, *arguments)

        monkeypatch.setattr(TiledRows, name, noting)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        worker.select(np.arange(0, 600, 2), None)
        seeds = worker.take(np.arange(20))
        worker.add_seeds(seeds)
        worker.draw(np.array([0]), np.array([0.5]))
        worker.begin_at_seeds(seeds, 1)
        worker.step(seeds + 0.1, 1)
        worker.result()
        worker.begin(seeds, 1)
        worker.assign_all(seeds + 0.1)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert set(seen) == {1}


def test_a_stage_without_the_one_before_is_refused() -> None:
    worker = RowWorker(TiledRows(prepared(blobs(0)), "cpu"), 0, "l2")
    with pytest.raises(RuntimeError, match="earlier stage"):
        worker.step(np.zeros((2, 6), dtype=np.float32), 1)
