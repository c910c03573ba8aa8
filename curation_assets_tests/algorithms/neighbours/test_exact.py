"""Similar rows: every implementation gives the answer of float64, with ties, copies and rows of zeros."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.algorithms.neighbours import torch_search
from curation_assets.algorithms.neighbours.exact import most_similar, pairs_within, products
from curation_assets_tests.algorithms.neighbours.searches import SEARCHES, prepared, rows_with_ties


def cosines(queries: torch.Tensor, references: torch.Tensor) -> np.ndarray:
    """Inner products without rounding: whole multiples of 2^-24, multiplied as integers."""
    left, right = ((side.numpy().astype(np.float64) * 2**24).astype(object) for side in (queries, references))
    return (left @ right.T / 2**48).astype(np.float64)


@pytest.mark.parametrize("name", SEARCHES)
def test_hand_worked(name: str) -> None:
    search = SEARCHES[name]()
    references = prepared([[1, 0], [0, 1], [2, 0], [-1, 0], [0, 0]])
    queries = prepared([[3, 0], [0, -1], [1, 1], [0, 0]])
    column, cosine = most_similar(queries, references, 3, search=search)
    # Equal ones by their number, also where all are: a row of zeros has a cosine of 0 to everything.
    assert column.tolist() == [[0, 2, 1], [0, 2, 3], [0, 1, 2], [0, 1, 2]]
    assert cosine[0].tolist() == [1, 1, 0]
    assert cosine[3].tolist() == [0, 0, 0]
    found = torch.stack(pairs_within(queries, references, 1.0, search=search), dim=1)
    assert sorted(found.tolist()) == [[0, 0], [0, 2]]
    found = torch.stack(pairs_within(queries, references, -1.0, search=search), dim=1)
    assert len(found) == 20


@pytest.mark.parametrize("name", SEARCHES)
@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 1000),
    n=st.integers(1, 40),
    m=st.integers(1, 200),
    dimension=st.sampled_from([1, 3, 8, 33]),
    k=st.integers(1, 12),
    data=st.data(),
)
def test_answers_are_those_of_float64(
    name: str, seed: int, n: int, m: int, dimension: int, k: int, data: st.DataObject
) -> None:
    search, k = SEARCHES[name](), min(k, m)
    rows = rows_with_ties(seed, n + m, dimension)
    queries, references = rows[:n], rows[n:]
    exact = cosines(queries, references)
    columns, similarity = most_similar(queries, references, k, search=search)
    expected = np.argsort(-exact, axis=1, kind="stable")[:, :k]
    assert columns.tolist() == expected.tolist()
    assert similarity.tolist() == np.take_along_axis(exact, expected, axis=1).tolist()
    # A threshold that pairs meet exactly, and the next one above.
    threshold = data.draw(st.sampled_from(sorted(exact.ravel().tolist())))
    for limit in (threshold, float(np.nextafter(threshold, 2))):
        found = torch.stack(pairs_within(queries, references, limit, search=search), dim=1)
        assert sorted(found.tolist()) == np.argwhere(exact >= limit).tolist()


@pytest.mark.parametrize("name", SEARCHES)
def test_more_copies_than_are_asked_for(name: str) -> None:
    rows = torch.cat([prepared([[1, 2, 3]]).repeat(300, 1), prepared([[3, 2, 1]])])
    columns, cosine = most_similar(rows, rows, 5, search=SEARCHES[name]())
    assert columns[:300].tolist() == [[0, 1, 2, 3, 4]] * 300
    assert columns[300].tolist() == [300, 0, 1, 2, 3]
    assert len(set(cosine[:300].flatten().tolist())) == 1


@pytest.mark.parametrize("name", SEARCHES)
def test_no_queries_and_no_references(name: str) -> None:
    rows = prepared([[1, 0], [0, 1]])
    columns, cosine = most_similar(rows[:0], rows, 2, search=SEARCHES[name]())
    assert columns.shape == cosine.shape == (0, 2)
    for left, right in ((rows[:0], rows), (rows, rows[:0]), (rows[:1], rows[1:])):
        row, column = pairs_within(left, right, 0.5, search=SEARCHES[name]())
        assert row.dtype == column.dtype == torch.int64
        assert len(row) == len(column) == 0


def test_tiles_and_threads_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = rows_with_ties(5, 700, 31)
    answers = []
    before = torch.get_num_threads()
    for name in ("torch", "faiss"):
        for threads, tile in ((1, 2**12), (2, 2**23)):
            monkeypatch.setattr(torch_search, "_TILE_BYTES", tile)
            torch.set_num_threads(threads)
            try:
                search = SEARCHES[name]()
                columns, cosine = most_similar(rows, rows, 4, search=search)
                pairs = torch.stack(pairs_within(rows, rows, 0.7, search=search), dim=1)
            finally:
                torch.set_num_threads(before)
            answers.append((columns.tolist(), cosine.tolist(), sorted(pairs.tolist())))
    assert answers[1:] == answers[:1] * 3


def test_products_are_summed_without_rounding() -> None:
    rows = rows_with_ties(1, 90, 384)
    row, column = torch.arange(90), torch.arange(90).flip(0)
    assert products(rows, row, rows, column).tolist() == np.diagonal(cosines(rows, rows.flip(0))).tolist()
