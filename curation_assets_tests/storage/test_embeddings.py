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


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[ShardedEmbeddings, np.ndarray]:
    folder = UPath(tmp_path_factory.mktemp("embeddings"))
    matrix = np.arange(sum(SIZES) * 2, dtype=np.float16).reshape(-1, 2)
    outputs, start = [], 0
    for number, size in enumerate(SIZES):
        outputs.append(Output(folder, f"{number:02}"))
        with outputs[-1].writing(Recipe({}, {}, "1")) as writer:
            writer.array("npy", matrix[start : start + size])
            writer.summary.update(n_rows=size, dimension=2)
        start += size
    return ShardedEmbeddings(outputs), matrix.astype(np.float32)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 13), st.integers(0, 13))
def test_any_range_reads_across_shards(stored: tuple[ShardedEmbeddings, np.ndarray], a: int, b: int) -> None:
    rows, matrix = stored
    start, stop = sorted((a, b))
    np.testing.assert_array_equal(rows.read(start, stop), matrix[start:stop])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 12)))
def test_any_rows_are_taken_in_order(
    stored: tuple[ShardedEmbeddings, np.ndarray], indices: list[int]
) -> None:
    rows, matrix = stored
    chosen = np.array(indices, dtype=np.int64)
    np.testing.assert_array_equal(rows.take(chosen), matrix[chosen])


def test_a_shard_that_was_not_embedded_is_named(tmp_path: Path) -> None:
    with pytest.raises(StaleInputError, match="shard '07'"):
        ShardedEmbeddings([Output(UPath(tmp_path), "07")])
