"""Embeddings of many shards as one matrix."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from upath import UPath

from curation_assets.errors import StaleInputError
from curation_assets.storage.embeddings import ShardedEmbeddings
from curation_assets.storage.outputs import Output, Recipe

SIZES = [3, 0, 5, 0, 0, 1, 4, 0]
KEPT = [np.array([0, 2]), None, np.array([1, 2, 4]), np.array([], int), None, None, np.array([3]), None]


@pytest.fixture(scope="module", params=["local", "object store"])
def stored(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[ShardedEmbeddings, np.ndarray]:
    return ShardedEmbeddings(write_shards(request, tmp_path_factory)), matrix_of_all().astype(np.float32)


@pytest.fixture(scope="module", params=["local", "object store"])
def kept(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[ShardedEmbeddings, np.ndarray]:
    """Some rows of each shard."""
    starts = np.cumsum([0, *SIZES])
    rows = [
        start + (np.arange(size) if mine is None else mine)
        for start, size, mine in zip(starts, SIZES, KEPT, strict=False)
    ]
    outputs = write_shards(request, tmp_path_factory)
    return ShardedEmbeddings(outputs, KEPT), matrix_of_all()[np.concatenate(rows)].astype(np.float32)


def matrix_of_all() -> np.ndarray:
    return np.arange(sum(SIZES) * 2, dtype=np.float16).reshape(-1, 2)


def write_shards(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Output]:
    folder = UPath(tmp_path_factory.mktemp("embeddings"))
    if request.param != "local":
        folder = UPath(f"memory://{folder.name}-{request.fixturename}")
    matrix = matrix_of_all()
    outputs: list[Output] = []
    start = 0
    for number, size in enumerate(SIZES):
        outputs.append(Output(folder, f"{number:02}"))
        with outputs[-1].writing(Recipe({}, {}, "1")) as writer:
            writer.array("npy", matrix[start : start + size])
            writer.summary.update(n_rows=size, dimension=2)
        start += size
    return outputs


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 13), st.integers(0, 13))
def test_any_range_reads_across_shards(stored: tuple[ShardedEmbeddings, np.ndarray], a: int, b: int) -> None:
    rows, matrix = stored
    start, stop = sorted((a, b))
    np.testing.assert_array_equal(rows.read(start, stop), matrix[start:stop])
    as_stored = rows.read_half(start, stop)
    assert rows.is_half
    assert as_stored.dtype == np.float16
    np.testing.assert_array_equal(as_stored, matrix[start:stop])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 12)))
def test_any_rows_are_taken_in_order(
    stored: tuple[ShardedEmbeddings, np.ndarray], indices: list[int]
) -> None:
    rows, matrix = stored
    chosen = np.array(indices, dtype=np.int64)
    np.testing.assert_array_equal(rows.take(chosen), matrix[chosen])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 7), st.integers(0, 7), st.lists(st.integers(0, 6)))
def test_of_a_cleaned_shard_the_kept_rows_are_read(
    kept: tuple[ShardedEmbeddings, np.ndarray], a: int, b: int, indices: list[int]
) -> None:
    rows, matrix = kept
    assert rows.n_rows == len(matrix) == 7
    start, stop = sorted((a, b))
    np.testing.assert_array_equal(rows.read(start, stop), matrix[start:stop])
    np.testing.assert_array_equal(rows.read_half(start, stop), matrix[start:stop])
    chosen = np.array(indices, dtype=np.int64)
    np.testing.assert_array_equal(rows.take(chosen), matrix[chosen])


def test_a_shard_that_was_not_embedded_is_named(tmp_path: Path) -> None:
    with pytest.raises(StaleInputError, match="shard '07'"):
        ShardedEmbeddings([Output(UPath(tmp_path), "07")])
