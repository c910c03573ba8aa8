"""Nearest references: against brute force in float64, with ties, and whatever the chunks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.algorithms.search.references import NO_MATCH, best_matches, nearest_rows, pair_cosines


def cosines(queries: np.ndarray, references: np.ndarray) -> np.ndarray:
    a, b = queries.astype(np.float64), references.astype(np.float64)
    return (a @ b.T) / np.linalg.norm(a, axis=1)[:, None] / np.linalg.norm(b, axis=1)[None]


def test_hand_worked() -> None:
    references = np.array([[1, 0], [0, 2], [-3, 0]], dtype=np.float16)
    queries = np.array([[5, 0], [1, 1], [0, 1], [-1, 0.0], [0, 0]], dtype=np.float32)
    index, cosine = best_matches(queries, references)
    assert index.tolist()[:4] == [0, 0, 1, 2]
    np.testing.assert_allclose(cosine, [1, 0.5**0.5, 1, 1, 0], atol=1e-6)
    assert cosine[[0, 2, 3]].tolist() == [1, 1, 1]
    index, distance = nearest_rows(np.array([[0, 3], [2, 2]]), np.array([[0, 0], [2, 5]]))
    assert index.tolist() == [1, 0]
    np.testing.assert_allclose(distance, [8**0.5, 8**0.5])


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(1, 40),
    m=st.integers(1, 40),
    chunk_bytes=st.integers(4, 2000),
    seed=st.integers(0, 1000),
)
def test_the_best_match_does_not_depend_on_chunks(n: int, m: int, chunk_bytes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    references = rng.normal(size=(m, 6)).astype(np.float16)
    queries = np.concatenate([rng.normal(size=(n, 6)), references[rng.integers(0, m, 3)]]).astype(np.float32)
    references = np.concatenate([references, references[::2]])
    index, cosine = best_matches(queries, references)
    chunked_index, chunked_cosine = best_matches(queries, references, chunk_bytes=chunk_bytes)
    np.testing.assert_array_equal(index, chunked_index)
    np.testing.assert_array_equal(cosine, chunked_cosine)
    expected = cosines(queries, references)
    np.testing.assert_allclose(cosine, expected.max(axis=1), atol=1e-6)
    assert index.max() < m, "of equal references the first one counts"
    assert (cosine[-3:] == 1).all()


def test_no_references_and_wrong_ones() -> None:
    queries = np.ones((2, 3), dtype=np.float32)
    index, cosine = best_matches(queries, np.empty((0, 3), dtype=np.float16))
    assert index.tolist() == [NO_MATCH, NO_MATCH]
    assert cosine.tolist() == [-1, -1]
    index, cosine = best_matches(queries[:0], queries)
    assert len(index) == len(cosine) == 0
    with pytest.raises(ValueError, match="queries have 3 dimensions, references 4"):
        best_matches(queries, np.ones((1, 4)))
    with pytest.raises(ValueError, match="no direction"):
        best_matches(queries, np.zeros((1, 3)))


def test_cosines_of_pairs() -> None:
    left = np.array([[2, 0], [1, 1], [0, 0]], dtype=np.float16)
    right = np.array([[1, 0], [-1, -1], [1, 0]], dtype=np.float16)
    assert pair_cosines(left, right).tolist() == [1, -1, 0]
