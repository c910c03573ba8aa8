"""Sketches never rule out what is nearer."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.algorithms import sketch
from curation_assets.algorithms.assignment import Codebook
from curation_assets.algorithms.rounded_scores import PRODUCT_ROUNDOFF
from curation_assets.algorithms.sketch import (
    Basis,
    SketchedCentroids,
    Sketches,
    is_sketchable,
    sample_for_basis,
    sketch_bytes,
)
from curation_assets_tests.algorithms.small_fits import small_sketches


def _heaps(seed: int, n_rows: int, dimension: int, scale: float = 1.0, noise: float = 0.3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(12, dimension, generator=generator)
    chosen = torch.randint(12, (n_rows,), generator=generator)
    return scale * (centres[chosen] + noise * torch.randn(n_rows, dimension, generator=generator))


def _true_scores(rows: torch.Tensor, centroids: torch.Tensor) -> torch.Tensor:
    wide = centroids.double()
    return rows.double() @ wide.T - 0.5 * wide.square().sum(dim=1)


def _norms(rows: torch.Tensor) -> torch.Tensor:
    return torch.linalg.vector_norm(rows, dim=1)


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 10_000),
    st.sampled_from([0.01, 1.0, 300.0]),
    st.sampled_from([0.0, 0.3, 3.0]),
    st.sampled_from([20, 60, 200]),
    st.booleans(),
)
def test_no_true_score_exceeds_the_bound(
    seed: int, scale: float, noise: float, dimension: int, is_rounded: bool
) -> None:
    rows = _heaps(seed, 60, dimension, scale, noise)
    # Some centroids on rows, some between two, some anywhere.
    centroids = torch.cat([rows[:10], 0.5 * (rows[10:20] + rows[20:30]), scale * torch.randn(10, dimension)])
    book, norms = Codebook.of(centroids), _norms(rows)
    with pytest.MonkeyPatch.context() as patch:
        small_sketches(patch, 5, 7, is_rounded=is_rounded)
        basis = Basis.of(rows)
        assert basis.is_rounded == is_rounded
        sketched = SketchedCentroids(basis, book.centroids, book.bias, book.largest_norm)
        found = basis.sketches(rows, norms)
        products = (found.values @ sketched._sketches.T)[:, : len(centroids)].float()
        above = found.rests + basis.error(norms, book.largest_norm)
        if is_rounded:
            products += PRODUCT_ROUNDOFF * products.abs()
            above += sketched._rounding_error(found, norms, book.error_bound(norms))
    bounds = products + above[:, None]
    scores = _true_scores(rows, centroids[sketched._numbers])
    assert (bounds.double() >= scores).all()
    # A bound that holds nothing back would rule nothing out.
    assert float((bounds - scores).amin(dim=1).median()) < 0.3 * float(norms.square().mean())


@pytest.mark.parametrize("is_rounded", [False, True])
def test_bounds_rule_out_other_heaps(monkeypatch: pytest.MonkeyPatch, is_rounded: bool) -> None:
    monkeypatch.setattr(sketch, "bfloat16_is_faster", lambda device: is_rounded)
    rows = _heaps(1, 2000, 384)
    centroids = _heaps(1, 300, 384)
    book, norms = Codebook.of(centroids), _norms(rows)
    basis = Basis.of(rows[:500])
    sketched = SketchedCentroids(basis, book.centroids, book.bias, book.largest_norm)
    found = basis.sketches(rows, norms)
    bounds = (found.values @ sketched._sketches.T)[:, :300].float()
    above = found.rests + basis.error(norms, book.largest_norm)
    scores = _true_scores(rows, centroids)
    is_open = bounds + above[:, None] >= scores.amax(dim=1)[:, None]
    assert float(is_open.float().mean()) < 0.15, "a twelfth of the centroids lies in the row's own heap"


def test_the_stretch_is_what_random_directions_hardly_exceed() -> None:
    n, dimension, n_trials = 48, 352, 20_000
    lengths = np.random.default_rng(0).normal(size=(n_trials, dimension)) ** 2
    shares = lengths[:, :n].sum(axis=1) / lengths.sum(axis=1)
    largest = 1 / sketch._stretch(n, dimension)
    assert shares.max() < largest
    # Far, but not farther than need be: six standard deviations are exceeded once in a thousand million times.
    assert largest < shares.mean() + 12 * shares.std()
    assert sketch._stretch(dimension - 1, dimension) == pytest.approx(1, abs=0.02)


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 10_000),
    st.booleans(),
    st.booleans(),
    st.sampled_from([0.1, 1.0]),
    st.booleans(),
    st.booleans(),
)
def test_a_search_finds_the_best(
    seed: int, is_alone: bool, has_left_out: bool, noise: float, is_left: bool, is_rounded: bool
) -> None:
    rows, centroids = _heaps(seed, 150, 24, noise=noise), _heaps(seed, 40, 24, noise=noise)
    book, norms = Codebook.of(centroids), _norms(rows)
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
        small_sketches(patch, 3, 4, is_rounded=is_rounded)
        patch.setattr(sketch, "_BOUNDS_BYTES", 1)
        basis = Basis.of(rows)
        sketched = SketchedCentroids(basis, book.centroids, book.bias, book.largest_norm)
        if is_left:
            # As if the sketches had ruled out too few of every row.
            patch.setattr(
                sketch,
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
    book, norms = Codebook.of(centroids), _norms(rows)
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


@pytest.mark.parametrize("is_rounded", [False, True])
def test_a_basis_is_orthogonal_and_holds_what_the_sample_does(
    monkeypatch: pytest.MonkeyPatch, is_rounded: bool
) -> None:
    monkeypatch.setattr(sketch, "bfloat16_is_faster", lambda device: is_rounded)
    n_leading, n_random = (64, 64) if is_rounded else (32, 48)
    rows = torch.randn(300, 8, generator=torch.Generator().manual_seed(0)) @ torch.randn(8, 260)
    basis = Basis.of(rows)
    products = basis.directions.T @ basis.directions
    expected = torch.ones(n_leading + n_random)
    expected[n_leading:] = basis.stretch
    torch.testing.assert_close(products, torch.diag(expected), rtol=0, atol=1e-5)
    rests = basis.sketches(rows, _norms(rows)).rests
    assert (rests.abs() <= 1e-3 * _norms(rows).square()).all(), "all rows lie in eight dimensions"


def test_parts_of_sketches() -> None:
    sketches = Sketches(
        torch.arange(6.0).view(3, 2), torch.arange(3.0), torch.arange(3.0, 6.0), torch.arange(3)
    )
    first, others = sketches[:1], sketches[torch.tensor([2, 1])]
    assert (first.values.tolist(), others.values.tolist()) == ([[0, 1]], [[4, 5], [2, 3]])
    assert (first.rests.tolist(), others.rests.tolist()) == ([0], [2, 1])
    assert (first.residuals.tolist(), others.residuals.tolist()) == ([3], [5, 4])
    assert (first.groups.tolist(), others.groups.tolist()) == ([0], [2, 1])


@pytest.mark.parametrize("is_rounded", [False, True])
def test_what_a_sketch_takes(monkeypatch: pytest.MonkeyPatch, is_rounded: bool) -> None:
    monkeypatch.setattr(sketch, "bfloat16_is_faster", lambda device: is_rounded)
    for dimension in (200, 384):
        rows = torch.randn(50, dimension)
        sketches = Basis.of(rows).sketches(rows, _norms(rows))
        parts = (sketches.values, sketches.rests, sketches.residuals, sketches.groups)
        assert sum(part.nbytes for part in parts) == 50 * sketch_bytes(dimension, "cpu")
    assert sketch_bytes(100, "cpu") == sketch_bytes(384, "cuda") == 0


def test_where_sketches_pay() -> None:
    assert is_sketchable(10_000, 200, 384, "cpu")
    assert not is_sketchable(10_000, 200, 384, "cuda")
    assert not is_sketchable(10_000, 200, 100, "cpu")
    assert not is_sketchable(100, 200, 384, "cpu")
    assert not is_sketchable(10**6, 20, 384, "cpu")
    assert sample_for_basis(5).tolist() == [0, 1, 2, 3, 4]
    sample = sample_for_basis(10**6)
    assert len(sample) == 2048
    assert (sample[0], sample[-1]) == (0, 10**6 - 1)
