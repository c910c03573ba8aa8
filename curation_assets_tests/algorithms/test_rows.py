"""Rows in chunks: what is read ahead, and conversions that change no bit."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.algorithms.rows import ArrayRows, as_float32, chunk_bounds, read_ahead, read_chunks


@pytest.mark.parametrize("n_items", [0, 1, 2, 7])
def test_everything_comes_in_order(n_items: int) -> None:
    assert list(read_ahead(range(n_items), lambda item: item * item)) == [i * i for i in range(n_items)]


def test_the_next_item_is_loaded_while_the_last_is_worked_on() -> None:
    loaded = [threading.Event() for _ in range(3)]

    def load(item: int) -> int:
        loaded[item].set()
        return item

    results = read_ahead(range(3), load)
    assert next(results) == 0
    assert loaded[1].wait(5)
    assert not loaded[2].is_set(), "one ahead, no more: memory is bounded"
    results.close()  # type: ignore[attr-defined]
    assert not any(thread.name.startswith("read_ahead") for thread in threading.enumerate())


def test_an_error_comes_where_its_item_would_have() -> None:
    results = read_ahead(range(4), lambda item: 10 // (2 - item))
    assert [next(results), next(results)] == [5, 10]
    with pytest.raises(ZeroDivisionError):
        next(results)


@given(st.integers(0, 40), st.integers(1, 200))
def test_chunks_are_the_rows(n_rows: int, chunk_bytes: int) -> None:
    x = np.arange(n_rows * 3, dtype=np.float16).reshape(n_rows, 3)
    chunks = list(read_chunks(ArrayRows(x), chunk_bytes))
    assert all(len(block) * 12 <= max(12, chunk_bytes) for _, block in chunks)
    starts = [start for start, _ in chunks]
    assert starts == np.cumsum([0, *(len(block) for _, block in chunks)])[:-1].tolist()
    np.testing.assert_array_equal(np.concatenate([x[:0], *(block for _, block in chunks)]), x)


@given(st.integers(0, 60), st.integers(1, 200), st.integers(1, 9))
def test_chunks_are_whole_numbers_of_tiles(n_rows: int, chunk_bytes: int, tile: int) -> None:
    bounds = list(chunk_bounds(ArrayRows(np.empty((n_rows, 3))), chunk_bytes, multiple_of=tile))
    assert all(start % tile == 0 for start, _ in bounds)
    assert all(12 * (stop - start) <= max(12 * tile, chunk_bytes) for start, stop in bounds)
    assert [row for start, stop in bounds for row in range(start, stop)] == list(range(n_rows))


def test_every_float16_is_converted_exactly() -> None:
    every = np.arange(2**16, dtype=np.uint16).view(np.float16).reshape(256, 256)
    expected = every.astype(np.float32)
    read_only = every.copy()
    read_only.flags.writeable = False
    for array in (every, read_only, np.asfortranarray(every)):
        np.testing.assert_array_equal(as_float32(array), expected)
    out = np.empty_like(expected)
    assert as_float32(every, out) is out
    np.testing.assert_array_equal(out, expected)
    assert as_float32(expected) is expected
