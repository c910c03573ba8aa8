"""Rows of a fit tile by tile, resident or read in every pass."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import torch

from curation_assets.algorithms import threads as part_threads
from curation_assets.algorithms.kmeans.tiles import TiledRows
from curation_assets.algorithms.rows import ArrayRows
from curation_assets.algorithms.search.codebook import Codebook

N_ROWS, DIMENSION = 4000, 200


pytestmark = pytest.mark.usefixtures("three_torch_threads")


@pytest.fixture
def array() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(N_ROWS, DIMENSION)).astype(np.float32)


class CountingRows(ArrayRows):
    """Counts the chunks that were read."""

    def __init__(self, array: np.ndarray) -> None:
        super().__init__(array)
        self.n_read = 0

    def read(self, start: int, stop: int) -> np.ndarray:
        """A copy, as from a disk."""
        self.n_read += 1
        return super().read(start, stop).copy()


def sketches_of(tiled: TiledRows, rows: slice, block: torch.Tensor) -> Any:
    """What a search among 500 centroids makes of some rows."""
    search = tiled.search_among(Codebook.of(torch.randn(500, DIMENSION)))
    view = tiled.searched(search, rows, block, tiled.norms()[rows]).view
    assert (view is not None) == tiled.is_resident
    return view if view is not None else search.viewer.view(block, tiled.norms()[rows])


@pytest.mark.parametrize("resident_bytes", [0, 2**30])
def test_every_row_comes_once_and_results_in_order(array: np.ndarray, resident_bytes: int) -> None:
    tiled = TiledRows(
        ArrayRows(array), "cpu", resident_bytes=resident_bytes, chunk_bytes=4 * DIMENSION * 1000
    )
    seen = np.zeros(N_ROWS, dtype=int)
    threads = set()

    def look(start: int, block: torch.Tensor) -> int:
        threads.add(threading.get_ident())
        np.testing.assert_array_equal(block.numpy(), array[start : start + len(block)])
        seen[start : start + len(block)] += 1
        assert len(block) <= 700
        return start

    starts = tiled.each_tile(look, 700)
    assert (seen == 1).all()
    assert starts == sorted(starts)
    assert threading.get_ident() not in threads


def test_streamed_tiles_at_work_lie_in_two_chunks_at_most(array: np.ndarray) -> None:
    rows = CountingRows(array)
    tiled = TiledRows(rows, "cpu", resident_bytes=0, chunk_bytes=4 * DIMENSION * 900)
    sizes = tiled.each_tile(lambda start, block: len(block), 10**6)
    assert sum(sizes) == N_ROWS
    assert 3 * max(sizes) <= 900
    assert rows.n_read >= 5


def test_lengths_and_sketches_do_not_depend_on_how_rows_are_held(
    array: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = TiledRows(ArrayRows(array), "cpu")
    streamed = TiledRows(ArrayRows(array), "cpu", resident_bytes=0, chunk_bytes=4 * DIMENSION * 500)
    assert held.norms().tolist() == streamed.norms().tolist()
    torch.testing.assert_close(held.norms(), torch.tensor(array).norm(dim=1))
    part = slice(100, 300)
    block = torch.from_numpy(array)
    of_held, of_streamed = (sketches_of(tiled, part, block[part]) for tiled in (held, streamed))
    torch.testing.assert_close(of_held.values, of_streamed.values)
    monkeypatch.setattr(part_threads, "_SINGLE_THREAD_PART", 10**12)
    torch.testing.assert_close(
        held.basis().view(block, held.norms()).rests,
        sketches_of(held, slice(0, N_ROWS), block).rests,
        rtol=0,
        atol=1e-3,
    )


def test_a_subset_takes_over_the_sketches_of_the_whole(array: np.ndarray) -> None:
    whole = TiledRows(ArrayRows(array), "cpu")
    numbers = np.arange(0, N_ROWS, 2)
    subset = whole.subset(numbers)
    assert subset.basis() is whole.basis()
    of_whole = sketches_of(whole, slice(0, N_ROWS), torch.from_numpy(array))
    of_subset = sketches_of(subset, slice(0, len(numbers)), torch.from_numpy(array[numbers]))
    assert of_subset.values.tolist() == of_whole.values[torch.from_numpy(numbers)].tolist()
    assert of_subset.groups.tolist() == of_whole.groups[torch.from_numpy(numbers)].tolist()


def test_no_rows_at_all() -> None:
    tiled = TiledRows(ArrayRows(np.empty((0, DIMENSION), np.float32)), "cpu")
    assert tiled.norms().shape == (0,)
