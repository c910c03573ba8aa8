"""Compiled loops over pairs of rows and centroids."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.algorithms import pair_kernels, part_threads
from curation_assets.algorithms.compiled_loops import CHUNK
from curation_assets.algorithms.pair_kernels import (
    moved_rows,
    pair_scores,
    pair_squared_distances,
    search_all,
    search_bounded,
    squared_lengths,
)


def _pairs(seed: int, dimension: int, n_pairs: int = 50) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    block = torch.randn(20, dimension, generator=generator)
    centroids = torch.randn(9, dimension, generator=generator)
    rows = torch.randint(20, (n_pairs,), generator=generator)
    return block, rows, centroids, torch.randint(9, (n_pairs,), generator=generator)


@given(st.integers(0, 1000), st.integers(1, 40))
def test_scores_of_pairs(seed: int, dimension: int) -> None:
    block, rows, centroids, clusters = _pairs(seed, dimension)
    bias = torch.arange(9.0)
    expected = (block[rows].double() * centroids[clusters].double()).sum(dim=1) + clusters
    torch.testing.assert_close(
        pair_scores(block, rows, centroids, bias, clusters).double(), expected, rtol=0, atol=1e-4
    )


def test_squared_distances_by_hand() -> None:
    block, centroids = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 3.0]])
    zero = torch.zeros(2, dtype=torch.int64)
    assert pair_squared_distances(block, zero, centroids, torch.arange(2)).tolist() == [14.0, 4.0]


def test_squared_lengths_by_hand() -> None:
    assert squared_lengths(torch.tensor([[3.0, 4.0], [0.0, 0.0], [-1.0, 2.0]])).tolist() == [25.0, 0.0, 5.0]
    assert squared_lengths(torch.empty(0, 3)).tolist() == []


def test_rows_that_moved() -> None:
    before = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [0.0, 7.0]])
    after = torch.tensor([[1.0, 2.0], [3.0, 4.5], [5.5, 6.0], [-0.0, 7.0]])
    assert moved_rows(before, after).tolist() == [False, True, True, False]


@given(st.integers(0, 1000), st.integers(1, 40))
def test_squared_distances_have_the_same_bits_alone_and_in_parts(seed: int, dimension: int) -> None:
    block, rows, centroids, clusters = _pairs(seed, dimension)
    whole = pair_squared_distances(block, rows, centroids, clusters)
    expected = (block[rows].double() - centroids[clusters].double()).square().sum(dim=1)
    torch.testing.assert_close(whole, expected, rtol=1e-14, atol=0)
    alone = [
        float(pair_squared_distances(block, rows[i : i + 1], centroids, clusters[i : i + 1]))
        for i in range(len(rows))
    ]
    assert whole.tolist() == alone
    assert pair_squared_distances(block[rows], None, centroids, clusters).tolist() == alone
    before = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(part_threads, "_SINGLE_THREAD_PART", 1)
        torch.set_num_threads(3)
        assert pair_squared_distances(block, rows, centroids, clusters).tolist() == alone
    torch.set_num_threads(before)


@given(st.integers(0, 1000), st.integers(1, 70), st.booleans())
def test_the_best_two_of_all_scores(seed: int, k: int, with_ties: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    block, centroids = torch.randn(11, 3, generator=generator), torch.randn(k, 3, generator=generator)
    if with_ties:
        centroids = centroids.round()
        block = block.round()
    bias = torch.zeros(k)
    at_least = torch.full((11,), -torch.inf)
    at_least[::3] = 1.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pair_kernels, "_SCORES_BYTES", 1)
        best, column, second = search_all(block, centroids, bias, at_least)
    scores = torch.addmm(bias, block, centroids.T)
    torch.testing.assert_close(best, scores.amax(dim=1))
    of_interest = best >= at_least
    torch.testing.assert_close(scores.gather(1, column[:, None])[:, 0][of_interest], best[of_interest])
    others = scores.scatter(1, column[:, None], -torch.inf).amax(dim=1)
    torch.testing.assert_close(second[of_interest], others[of_interest])
    assert (second[~of_interest] <= best[~of_interest]).all()


def _search(
    bounds: list[list[float]],
    scores: list[list[float]],
    at_least: float,
    own: float | None = None,
    left_out: int | None = None,
    roundoff: float = 0.0,
) -> tuple[list[int], list[float], list[float], int]:
    """Search for rows that are unit vectors, so that the centroids' coordinates are their scores."""
    n_rows, k = len(scores), len(scores[0])
    padded = torch.full((n_rows, CHUNK), -3e38)
    padded[:, :k] = torch.tensor(bounds)
    found = torch.zeros(n_rows, dtype=torch.int64), torch.empty(n_rows), torch.empty(n_rows)
    search_bounded(
        torch.eye(n_rows),
        torch.arange(n_rows),
        padded,
        torch.tensor(scores).T.contiguous(),
        torch.zeros(k),
        torch.full((n_rows,), at_least),
        torch.zeros(n_rows),
        torch.full((n_rows,), 0.001),
        None if own is None else torch.full((n_rows,), own),
        None if left_out is None else torch.full((n_rows,), left_out),
        found,
        roundoff=roundoff,
    )
    n_left = int((found[0] < 0).sum())
    return found[0].tolist(), found[1].tolist(), found[2].tolist(), n_left


def test_a_search_for_the_best_alone() -> None:
    # The first bound is the largest, but the second score is: the third is ruled out by it and stays a bound.
    column, best, others, n_left = _search([[0.9, 0.8, 0.5]], [[0.2, 0.7, 0.4]], at_least=-1.0)
    assert (column, n_left) == ([1], 0)
    assert best == pytest.approx([0.7])
    assert others == pytest.approx([0.5])


def test_bounds_that_rounding_has_lowered_rule_out_less() -> None:
    # The second bound was 0.71 before it lost a tenth: it is below what the first one scores, but may not be.
    assert _search([[0.9, 0.64]], [[0.7, 0.705]], at_least=-1.0)[0] == [0]
    column, best, others, _ = _search([[0.9, 0.64]], [[0.7, 0.705]], at_least=-1.0, roundoff=0.125)
    assert column == [1]
    assert best == pytest.approx([0.705])
    assert others == pytest.approx([0.7])
    # Of what is not looked at the bound is handed on as it may have been; negative ones were lowered away from zero.
    assert _search([[0.9, 0.4]], [[0.7, 0.2]], at_least=-1.0, roundoff=0.125)[2] == pytest.approx([0.45])
    assert _search([[0.9, -0.4]], [[0.7, -0.5]], at_least=-1.0, roundoff=0.125)[2] == pytest.approx([-0.35])
    assert _search([[-0.1, -0.5]], [[-0.5, -0.45]], at_least=-1.0, roundoff=0.125)[0] == [1]


def test_rows_of_which_most_stays_open_are_left() -> None:
    scores = [[0.1 * number for number in range(12)]] * 5
    column, _, _, n_left = _search([[0.9] * 11 + [0.0]] * 5, scores, at_least=0.5)
    assert column == [10] * 5, "11 of 16 are fewer than 0.7"
    assert n_left == 0
    column, _, _, n_left = _search([[0.9] * 12] * 5, scores, at_least=0.5)
    assert column == [-1] * 5
    assert n_left == 5


def test_a_search_beside_an_own_centroid_goes_on_to_the_second_best() -> None:
    # Own scores 0.6, so a rival of 0.45 has to be known though it cannot win.
    column, best, others, _ = _search([[0.5, 0.46, 0.3]], [[0.4, 0.45, 0.1]], at_least=0.0, own=0.6)
    assert column == [1]
    assert best == pytest.approx([0.45])
    assert others == pytest.approx([0.4])


def test_the_one_that_is_left_out_does_not_count() -> None:
    column, best, _, _ = _search([[0.9, 0.8, 0.5]], [[0.8, 0.7, 0.4]], at_least=-1.0, own=0.8, left_out=0)
    assert column == [1]
    assert best == pytest.approx([0.7])


def test_rows_that_do_not_come_by_fours() -> None:
    scores = [[0.1 * ((row + column) % 7) for column in range(7)] for row in range(6)]
    column, best, _, _ = _search(scores, scores, at_least=-1.0)
    assert column == [(6 - row) % 7 for row in range(6)]
    assert best == pytest.approx([0.6] * 6)
