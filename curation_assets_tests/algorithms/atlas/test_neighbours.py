from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.algorithms.atlas.neighbours import nearest_neighbours


def test_neighbours_worked_by_hand() -> None:
    line = np.array([[0.0], [1.0], [3.0], [3.0]], dtype=np.float32)
    indices, distances = nearest_neighbours(line, 2, metric="l2")
    assert indices.tolist() == [[1, 2], [0, 2], [3, 1], [2, 1]]
    assert distances.tolist() == [[1, 3], [1, 2], [0, 2], [0, 2]]


def test_cosine_distances_are_one_minus_the_cosine() -> None:
    rows = np.array([[1, 0], [0, 1], [0.6, 0.8]], dtype=np.float32)
    indices, distances = nearest_neighbours(rows, 5, metric="cosine")
    assert indices.tolist() == [[2, 1], [2, 0], [1, 0]]
    np.testing.assert_allclose(distances, [[0.4, 1.0], [0.2, 1.0], [0.2, 0.4]], atol=1e-6)


@pytest.mark.parametrize("n", [0, 1])
def test_alone_a_row_has_no_neighbours(n: int) -> None:
    indices, distances = nearest_neighbours(np.ones((n, 3), dtype=np.float32), 4, metric="cosine")
    assert indices.shape == distances.shape == (n, 0)
    with pytest.raises(ValueError, match="n_neighbours is 0"):
        nearest_neighbours(np.ones((3, 3), dtype=np.float32), 0, metric="l2")


@given(st.integers(2, 40), st.integers(1, 45), st.integers(0, 5))
def test_neighbours_agree_with_sorting_everything(n: int, k: int, seed: int) -> None:
    rows = np.random.default_rng(seed).normal(size=(n, 4)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    indices, distances = nearest_neighbours(rows, k, metric="cosine")
    every = 1 - rows.astype(np.float64) @ rows.T.astype(np.float64)
    np.fill_diagonal(every, np.inf)
    expected = np.sort(every, axis=1)[:, : min(k, n - 1)]
    np.testing.assert_allclose(distances, expected, atol=1e-6)
    np.testing.assert_allclose(np.take_along_axis(every, indices, axis=1), expected, atol=1e-6)
    assert not (indices == np.arange(n)[:, None]).any()


@pytest.mark.parametrize("scale", [1e-30, 1.0, 300.0, 1e15])
def test_of_copies_the_first_ones_are_named_at_any_length(scale: float) -> None:
    """Row 40 is the only other one; 39 copies have themselves as neighbours, in their order."""
    rows = np.repeat(np.array([[0.25, -0.5, 0.75]]), 41, axis=0)
    rows[40] *= 2
    indices, distances = nearest_neighbours((scale * rows).astype(np.float32), 3, metric="l2")
    assert indices[:5].tolist() == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2], [0, 1, 2]]
    assert indices[40].tolist() == [0, 1, 2]
    assert (distances[:40] == 0).all()
    np.testing.assert_allclose(distances[40], scale * 0.875**0.5, rtol=1e-6)
