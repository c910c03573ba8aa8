"""A first look in bfloat16 never rules out what is nearer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.algorithms.search import rounded_scores
from curation_assets.algorithms.search.assigner import assign
from curation_assets.algorithms.search.assignment import Codebook
from curation_assets.algorithms.search.rounded_scores import (
    RoundedCentroids,
    float32_accumulation,
    rounding_residuals,
)
from curation_assets_tests.algorithms.small_fits import LOOKS, first_look


def _ceilings(rows: torch.Tensor, centroids: torch.Tensor, thresholds: torch.Tensor, left_out=None):
    book = Codebook.of(centroids)
    norms = torch.linalg.vector_norm(rows, dim=1)
    rounded = RoundedCentroids(book.centroids, book.bias, book.largest_norm)
    return rounded.leaders(
        rows, norms, rounding_residuals(rows), thresholds, book.error_bound(norms), left_out
    )[1]


def _true_scores(rows: torch.Tensor, centroids: torch.Tensor) -> torch.Tensor:
    wide = centroids.double()
    return rows.double() @ wide.T - 0.5 * wide.square().sum(dim=1)


@given(st.integers(0, 10_000), st.sampled_from([0.01, 1.0, 300.0]), st.integers(1, 90), st.integers(1, 40))
def test_no_true_score_exceeds_the_ceiling(seed: int, scale: float, dimension: int, k: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    rows = scale * torch.randn(30, dimension, generator=generator)
    centroids = scale * torch.randn(k, dimension, generator=generator)
    thresholds = scale**2 * torch.randn(30, generator=generator)
    excess = _true_scores(rows, centroids).amax(dim=1) - thresholds.double()
    ceilings = _ceilings(rows, centroids, thresholds).double()
    assert (ceilings >= excess).all()
    # And it is of use: within a few bfloat16 roundings of the truth.
    size = (
        rows.norm(dim=1) * centroids.norm(dim=1).max()
        + thresholds.abs()
        + 0.5 * centroids.norm(dim=1).max() ** 2
    )
    assert (ceilings - excess <= 0.05 * size.double() + 1e-6).all()


def test_the_centroid_left_out_does_not_count() -> None:
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    ceilings = _ceilings(rows, torch.eye(2), torch.zeros(2), torch.tensor([0, -1]))
    assert ceilings[0] == pytest.approx(-0.5, abs=0.02)
    assert ceilings[1] == pytest.approx(0.5, abs=0.02)


def test_columns_are_looked_at_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, centroids = torch.randn(20, 8), torch.randn(11, 8)
    thresholds, left_out = torch.zeros(20), torch.arange(20) % 12 - 1
    whole = _ceilings(rows, centroids, thresholds, left_out)
    monkeypatch.setattr(rounded_scores, "_TILE_COLUMNS", 3)
    assert torch.equal(whole, _ceilings(rows, centroids, thresholds, left_out))


def test_small_products_are_not_rounded() -> None:
    book = Codebook.of(torch.randn(8, 384))
    assert RoundedCentroids.if_worthwhile(book.centroids, book.bias, book.largest_norm) is None


def test_residuals_are_what_rounding_takes() -> None:
    exact = torch.tensor([[1.0, 0.5], [0.0, 2.0]])
    assert np.allclose(rounding_residuals(exact), 0.0)
    assert rounding_residuals(torch.tensor([[1.0 + 2.0**-9, 0.0]]))[0] == pytest.approx(2.0**-9, rel=1e-3)


def test_accumulation_is_set_back() -> None:
    before = torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction
    with float32_accumulation():
        assert torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction is False
    assert torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction == before


@given(st.integers(0, 10_000), st.integers(2, 90), st.integers(2, 40))
def test_leaders_bound_every_other_centroid(seed: int, dimension: int, k: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    rows, centroids = (
        torch.randn(30, dimension, generator=generator),
        torch.randn(k, dimension, generator=generator),
    )
    book = Codebook.of(centroids)
    norms = torch.linalg.vector_norm(rows, dim=1)
    rounded = RoundedCentroids(book.centroids, book.bias, book.largest_norm)
    thresholds = torch.randn(30, generator=generator)
    leader, own, others = rounded.leaders(
        rows, norms, rounding_residuals(rows), thresholds, book.error_bound(norms)
    )
    scores = _true_scores(rows, centroids) - thresholds.double()[:, None]
    assert (own.double() >= scores.gather(1, leader[:, None])[:, 0]).all()
    assert (own.double() >= scores.amax(dim=1)).all()
    without = scores.scatter(1, leader[:, None], -torch.inf)
    assert (others.double() >= without.amax(dim=1)).all()
    # The leader itself is at most two bounds behind the nearest.
    assert (scores.amax(dim=1) - scores.gather(1, leader[:, None])[:, 0] <= 0.1 * dimension).all()


@given(st.integers(0, 10_000), st.sampled_from([2, 5, 100]))
def test_below_the_floor_the_bound_for_all_serves(seed: int, columns: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    rows, centroids = torch.randn(30, 7, generator=generator), torch.randn(11, 7, generator=generator)
    book = Codebook.of(centroids)
    norms = torch.linalg.vector_norm(rows, dim=1)
    rounded = RoundedCentroids(book.centroids, book.bias, book.largest_norm)
    floor = torch.randn(30, generator=generator)
    known = (rows, norms, rounding_residuals(rows), torch.zeros(30), book.error_bound(norms))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rounded_scores, "_TILE_COLUMNS", columns)
        leader, of_leader, of_others = rounded.leaders(*known, floor=floor)
    scores = _true_scores(rows, centroids)
    assert (of_leader.double() >= scores.amax(dim=1)).all()
    without = scores.scatter(1, leader[:, None], -torch.inf)
    assert (of_others.double() >= without.amax(dim=1)).all()
    whole = rounded.leaders(*known)
    above = of_leader >= floor
    assert torch.equal(leader[above], whole[0][above])


@given(
    st.integers(0, 10_000), st.sampled_from([0.01, 1.0, 300.0]), st.integers(1, 90), st.sampled_from([3, 100])
)
def test_every_centroid_that_reaches_the_threshold_is_a_contender(
    seed: int, scale: float, dimension: int, columns: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    rows = scale * torch.randn(20, dimension, generator=generator)
    centroids = scale * torch.randn(11, dimension, generator=generator)
    book = Codebook.of(centroids)
    norms = torch.linalg.vector_norm(rows, dim=1)
    scores = _true_scores(rows, centroids)
    # The third-highest score of each row: three centroids reach it, one of them exactly.
    thresholds = scores.sort(dim=1, descending=True).values[:, 2].float()
    rounded = RoundedCentroids(book.centroids, book.bias, book.largest_norm)
    known = (norms, rounding_residuals(rows), thresholds, book.error_bound(norms))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rounded_scores, "_TILE_COLUMNS", columns)
        pairs = rounded.contenders(rows, *known)
        patch.setattr(rounded_scores, "_MOST_CONTENDERS", 1)
        assert rounded.contenders(rows, *known) is None
    assert pairs is not None
    found = torch.zeros_like(scores, dtype=torch.bool)
    found[pairs] = True
    assert found.sum() == len(pairs[0])
    assert found[scores >= thresholds.double()[:, None]].all()
    # And it rules out: nobody is named who is far below.
    size = norms * centroids.norm(dim=1).max() + thresholds.abs() + 0.5 * centroids.norm(dim=1).max() ** 2
    assert not found[scores < (thresholds - 0.05 * size).double()[:, None] - 1e-6].any()


@given(st.integers(0, 10_000))
def test_assignments_are_the_same_with_and_without_a_first_look(seed: int) -> None:
    rng = np.random.default_rng(seed)
    centroids = rng.normal(size=(40, 12)).astype(np.float32)
    # Rows between two centroids, and on centroids that are there twice.
    centroids[20:] = centroids[:20] + rng.choice([0.0, 1e-4, 0.1], (20, 1)).astype(np.float32)
    rows = np.concatenate([0.5 * (centroids[::2] + centroids[1::2]), centroids, rng.normal(size=(60, 12))])
    rows = rows.astype(np.float32)
    found = []
    for look in LOOKS:
        with first_look(look):
            found.append(assign(rows, centroids, metric="l2"))
    for clusters, distances in found[1:]:
        np.testing.assert_array_equal(clusters, found[0][0])
        np.testing.assert_array_equal(distances, found[0][1])
    exact = ((rows[:, None].astype(np.float64) - centroids.astype(np.float64)) ** 2).sum(-1)
    np.testing.assert_array_equal(found[0][0], exact.argmin(1))


def test_shortcuts_of_cuda_are_off_inside_the_block_and_back_after_it() -> None:
    settings = torch.backends.cuda.matmul
    before = settings.allow_tf32, settings.allow_bf16_reduced_precision_reduction
    settings.allow_tf32 = True
    try:
        with rounded_scores.float32_accumulation():
            assert (settings.allow_tf32, settings.allow_bf16_reduced_precision_reduction) == (False, False)
        assert (settings.allow_tf32, settings.allow_bf16_reduced_precision_reduction) == (True, before[1])
    finally:
        settings.allow_tf32 = before[0]
