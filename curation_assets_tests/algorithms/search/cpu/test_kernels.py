"""Searches by compiled loops."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.algorithms.search.codebook import Codebook
from curation_assets.algorithms.search.cpu import kernels
from curation_assets.algorithms.search.cpu.kernels import search_all


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
        patch.setattr(kernels, "_SCORES_BYTES", 1)
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
