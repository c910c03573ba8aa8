"""Bounds from sketches, and the search among centroids that they narrow down."""

from __future__ import annotations

import math
from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.algorithms.search.assignment import Codebook
from curation_assets.algorithms.search.cpu import sketch, sketched_centroids
from curation_assets.algorithms.search.cpu.sketch import Basis, WholeRows
from curation_assets.algorithms.search.cpu.sketched_centroids import SketchedCentroids
from curation_assets.algorithms.search.rounded_scores import PRODUCT_ROUNDOFF
from curation_assets_tests.algorithms.small_fits import heaps, lengths, small_sketches

Kind = Literal["float32", "bfloat16", "whole rows"]
KINDS: tuple[Kind, ...] = ("float32", "bfloat16", "whole rows")


def _basis(
    patch: pytest.MonkeyPatch, kind: Kind, rows: torch.Tensor, leading: int, random: int
) -> Basis | WholeRows:
    if kind == "whole rows":
        return WholeRows(rows.shape[1])
    small_sketches(patch, leading, random, is_rounded=kind == "bfloat16")
    basis = Basis.of(rows)
    assert basis.is_rounded == (kind == "bfloat16")
    return basis


def _true_scores(rows: torch.Tensor, centroids: torch.Tensor) -> torch.Tensor:
    wide = centroids.double()
    return rows.double() @ wide.T - 0.5 * wide.square().sum(dim=1)


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 10_000),
    st.sampled_from([0.01, 1.0, 300.0]),
    st.sampled_from([0.0, 0.3, 3.0]),
    st.sampled_from([20, 60, 200]),
    st.sampled_from(KINDS),
)
def test_no_true_score_exceeds_the_bound(
    seed: int, scale: float, noise: float, dimension: int, kind: Kind
) -> None:
    rows = heaps(seed, 60, dimension, scale, noise)
    # Some centroids on rows, some between two, some anywhere.
    centroids = torch.cat([rows[:10], 0.5 * (rows[10:20] + rows[20:30]), scale * torch.randn(10, dimension)])
    book, norms = Codebook.of(centroids), lengths(rows)
    with pytest.MonkeyPatch.context() as patch:
        basis = _basis(patch, kind, rows, 5, 7)
        sketched = SketchedCentroids(basis, book.centroids, book.bias, book.largest_norm)
        found = basis.sketches(rows, norms)
        products = (found.values @ sketched._sketches.T)[:, : len(centroids)].float()
        above = found.rests + basis.error(norms, book.largest_norm)
        if basis.is_rounded:
            products += PRODUCT_ROUNDOFF * products.abs()
            above += sketched._rounding_error(found, norms, book.error_bound(norms))
    bounds = products + above[:, None]
    scores = _true_scores(rows, centroids[sketched._numbers])
    assert (bounds.double() >= scores).all()
    # A bound that holds nothing back would rule nothing out.
    assert float((bounds - scores).amin(dim=1).median()) < 0.3 * float(norms.square().mean())


@pytest.mark.parametrize("is_rounded", [False, True])
def test_bounds_rule_out_otherheaps(monkeypatch: pytest.MonkeyPatch, is_rounded: bool) -> None:
    monkeypatch.setattr(sketch, "bfloat16_is_faster", lambda device: is_rounded)
    rows = heaps(1, 2000, 384)
    centroids = heaps(1, 300, 384)
    book, norms = Codebook.of(centroids), lengths(rows)
    basis = Basis.of(rows[:500])
    sketched = SketchedCentroids(basis, book.centroids, book.bias, book.largest_norm)
    found = basis.sketches(rows, norms)
    bounds = (found.values @ sketched._sketches.T)[:, :300].float()
    above = found.rests + basis.error(norms, book.largest_norm)
    scores = _true_scores(rows, centroids)
    is_open = bounds + above[:, None] >= scores.amax(dim=1)[:, None]
    assert float(is_open.float().mean()) < 0.15, "a twelfth of the centroids lies in the row's own heap"


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 10_000),
    st.booleans(),
    st.booleans(),
    st.sampled_from([0.1, 1.0]),
    st.booleans(),
    st.sampled_from(KINDS),
)
def test_a_search_finds_the_best(
    seed: int, is_alone: bool, has_left_out: bool, noise: float, is_left: bool, kind: Kind
) -> None:
    rows, centroids = heaps(seed, 150, 24, noise=noise), heaps(seed, 40, 24, noise=noise)
    book, norms = Codebook.of(centroids), lengths(rows)
    bound = book.error_bound(norms)
    generator = torch.Generator().manual_seed(seed)
    left_out = torch.randint(-1, 40, (150,), generator=generator) if has_left_out else None
    exact = _true_scores(rows, centroids)
    if left_out is not None:
        exact[left_out >= 0, left_out[left_out >= 0]] = -math.inf
    ranked = exact.sort(dim=1, descending=True).values
    # Some know nothing, some a score that the best one does not reach.
    at_least = torch.where(
        torch.arange(150) % 3 > 0, torch.full((150,), -math.inf), ranked[:, 0].float() + 0.01
    )
    own = None if is_alone else ranked[:, 0].float() + 0.1
    with pytest.MonkeyPatch.context() as patch:
        basis = _basis(patch, kind, rows, 3, 4)
        patch.setattr(sketched_centroids, "_BOUNDS_BYTES", 1)
        sketched = SketchedCentroids(basis, book.centroids, book.bias, book.largest_norm)
        if is_left:
            # As if the sketches had ruled out too few of every row.
            patch.setattr(
                sketched_centroids,
                "search_bounded",
                lambda block, order, *more, roundoff: more[-1][0].index_fill_(0, order, -1),
            )
        found = sketched.search(rows, basis.sketches(rows, norms), norms, at_least, bound, own, left_out)
    assert found is not None
    column, best, others = found
    of_interest = ranked[:, 0] >= at_least
    # Of a row that is compared with all, the second best is not named where the best does not count.
    known = best > -math.inf
    assert known[of_interest & (True if left_out is None else left_out < 0)].all()
    known &= of_interest
    clear = known & (ranked[:, 0] - ranked[:, 1] > 4 * bound)
    assert (column[clear] == exact.argmax(dim=1)[clear]).all()
    torch.testing.assert_close(
        best[known].double(), exact.gather(1, column[:, None])[:, 0][known], rtol=0, atol=1e-4
    )
    assert (best[~of_interest] < at_least[~of_interest]).all()
    rest = exact.clone()
    named = best > -math.inf
    rest[named, column[named]] = -math.inf
    assert (others.double() + 2 * bound >= rest.amax(dim=1)).all()


def test_sketches_that_rule_out_too_few_are_given_up() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(400, 200, generator=generator)
    centroids = torch.randn(200, 200, generator=generator)
    book, norms = Codebook.of(centroids), lengths(rows)
    basis = Basis.of(rows)
    sketched = SketchedCentroids(basis, book.centroids, book.bias, book.largest_norm)
    arguments = (
        rows,
        basis.sketches(rows, norms),
        norms,
        torch.full((400,), -math.inf),
        book.error_bound(norms),
    )
    found = sketched.search(*arguments)
    assert found is not None
    assert (found[0] == _true_scores(rows, centroids).argmax(dim=1)).all()
    assert not sketched.is_open
    assert sketched.search(*arguments) is None


def test_among_few_centroids_nothing_is_sketched() -> None:
    rows = heaps(0, 300, 200)
    book = Codebook.of(rows[:100])
    every = book.centroids, book.bias, book.largest_norm
    basis, whole = Basis.of(rows), WholeRows(200)
    assert SketchedCentroids.if_worthwhile(None, *every) is None
    assert SketchedCentroids.if_worthwhile(basis, *every) is None, "100 are too few for a basis"
    assert SketchedCentroids.if_worthwhile(whole, *every) is not None
    assert SketchedCentroids.if_worthwhile(whole, book.centroids[:15], book.bias[:15], 1.0) is None
    assert SketchedCentroids.if_worthwhile(whole, book.centroids, book.bias, 1e19) is None, "beyond bfloat16"
