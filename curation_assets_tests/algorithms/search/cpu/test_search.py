"""Bounds from sketches, and the search among centroids that they narrow down."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.algorithms.search.base import SearchedRows
from curation_assets.algorithms.search.codebook import Codebook
from curation_assets.algorithms.search.cpu import search
from curation_assets.algorithms.search.cpu.search import CpuCentroids, SketchedCentroids
from curation_assets.algorithms.search.cpu.sketch import Basis, SketchKind, WholeRows
from curation_assets.algorithms.search.rounding import PRODUCT_ROUNDOFF
from curation_assets_tests.algorithms.small_fits import clustered_rows, lengths

KINDS = ("float32", "bfloat16", "whole rows")
LARGE = [SketchKind(32, 48), SketchKind(48, 48, is_rounded=True)]


def _viewer(kind: str, rows: torch.Tensor, leading: int, random: int) -> Basis | WholeRows:
    if kind == "whole rows":
        return WholeRows(rows.shape[1])
    return Basis.of(rows, SketchKind(leading, random, is_rounded=kind == "bfloat16"))


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
    seed: int, scale: float, noise: float, dimension: int, kind: str
) -> None:
    rows = clustered_rows(seed, 60, dimension, scale, noise)
    # Some centroids on rows, some between two, some anywhere.
    centroids = torch.cat([rows[:10], 0.5 * (rows[10:20] + rows[20:30]), scale * torch.randn(10, dimension)])
    book, norms = Codebook.of(centroids), lengths(rows)
    viewer = _viewer(kind, rows, 5, 7)
    sketched = SketchedCentroids.of(book, viewer)
    found = viewer.view(rows, norms)
    products = (found.values @ sketched.sketches.T)[:, : len(centroids)].float()
    above = found.rests + viewer.error(norms, book.largest_norm)
    if viewer.kind.is_rounded:
        products += PRODUCT_ROUNDOFF * products.abs()
        above += sketched.rounding_error(found, norms, book.error_bound(norms))
    bounds = products + above[:, None]
    scores = _true_scores(rows, sketched.book.centroids)
    assert (bounds.double() >= scores).all()
    # A bound that holds nothing back would rule nothing out.
    assert float((bounds - scores).amin(dim=1).median()) < 0.3 * float(norms.square().mean())


@pytest.mark.parametrize("kind", LARGE)
def test_bounds_rule_out_other_clusters(kind: SketchKind) -> None:
    rows = clustered_rows(1, 2000, 384)
    centroids = clustered_rows(1, 300, 384)
    book, norms = Codebook.of(centroids), lengths(rows)
    basis = Basis.of(rows[:500], kind)
    sketched = SketchedCentroids.of(book, basis)
    found = basis.view(rows, norms)
    bounds = (found.values @ sketched.sketches.T)[:, :300].float()
    above = found.rests + basis.error(norms, book.largest_norm)
    scores = _true_scores(rows, centroids)
    is_open = bounds + above[:, None] >= scores.amax(dim=1)[:, None]
    assert float(is_open.float().mean()) < 0.15, "a twelfth of the centroids lies in the row's own cluster"


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
    seed: int, is_alone: bool, has_left_out: bool, noise: float, is_left: bool, kind: str
) -> None:
    rows, centroids = clustered_rows(seed, 150, 24, noise=noise), clustered_rows(seed, 40, 24, noise=noise)
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
    viewer = _viewer(kind, rows, 3, 4)
    searched = SearchedRows(rows, norms, viewer.view(rows, norms), at_least, own, left_out)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "_BOUNDS_BYTES", 1)
        if is_left:
            # As if the sketches had ruled out too little for every row.
            patch.setattr(
                search,
                "search_bounded",
                lambda block, order, bounds, book, limits, answers, **how: answers.column.put(order, -1),
            )
        found = CpuCentroids(book, viewer).leading(searched, runner_up=not is_alone)
    column, best, others = found.column, found.score, found.others
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


@pytest.mark.parametrize("kind", LARGE)
def test_sketches_that_rule_out_too_little_are_given_up(kind: SketchKind) -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(400, 200, generator=generator)
    centroids = torch.randn(200, 200, generator=generator)
    expected = _true_scores(rows, centroids).argmax(dim=1)
    basis = Basis.of(rows, kind)
    searched = SearchedRows(rows, lengths(rows), basis.view(rows, lengths(rows)))
    sketched = CpuCentroids(Codebook.of(centroids), basis)
    assert sketched.current_viewer is basis
    for _ in range(2):
        assert (sketched.leading(searched).column == expected).all()
        # In bfloat16 whole rows rule out more.
        assert sketched.current_viewer == (WholeRows(200) if kind.is_rounded else None)


def test_whole_rows_are_given_up_where_centroids_are_alike() -> None:
    rows, centroids = torch.randn(300, 8), torch.ones(64, 8)
    same = CpuCentroids(Codebook.of(centroids), WholeRows(8))
    assert len(same.leading(SearchedRows.of(rows)).column) == 300
    assert same.current_viewer is None
