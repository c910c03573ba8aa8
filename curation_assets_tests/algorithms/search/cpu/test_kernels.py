"""Compiled loops over pairs of rows and centroids."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.algorithms import threads as part_threads
from curation_assets.algorithms.search.codebook import Codebook
from curation_assets.algorithms.search.cpu import kernels as pair_kernels
from curation_assets.algorithms.search.cpu.kernels import (
    moved_rows,
    pair_scores,
    pair_squared_distances,
    search_all,
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


@given(st.integers(0, 1000), st.integers(1, 70), st.booleans(), st.booleans())
def test_the_best_two_of_all_scores(seed: int, k: int, with_ties: bool, with_left_out: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    block, centroids = torch.randn(11, 3, generator=generator), torch.randn(k, 3, generator=generator)
    if with_ties:
        centroids = centroids.round()
        block = block.round()
    book = Codebook(centroids, torch.zeros(k), 0.0)
    at_least = torch.full((11,), -torch.inf)
    left_out = torch.arange(11) % k if with_left_out and k > 1 else None
    at_least[::3] = 1.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pair_kernels, "_SCORES_BYTES", 1)
        column, best, second = search_all(block, book, at_least, left_out)
    scores = torch.addmm(book.bias, block, centroids.T)
    if left_out is not None:
        scores[torch.arange(11), left_out] = -torch.inf
    torch.testing.assert_close(best, scores.amax(dim=1))
    of_interest = best >= at_least
    torch.testing.assert_close(scores.gather(1, column[:, None])[:, 0][of_interest], best[of_interest])
    others = scores.scatter(1, column[:, None], -torch.inf).amax(dim=1)
    torch.testing.assert_close(second[of_interest], others[of_interest])
    assert (second[~of_interest] <= best[~of_interest]).all()
