"""Of what rows' sketches consist, and where they pay."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from curation_assets.algorithms.search.cpu import sketch
from curation_assets.algorithms.search.cpu.sketch import (
    Basis,
    Sketches,
    WholeRows,
    are_worth_rounding,
    is_sketchable,
    sample_for_basis,
    sketch_bytes,
)
from curation_assets_tests.algorithms.small_fits import lengths


def test_the_stretch_is_what_random_directions_hardly_exceed() -> None:
    n, dimension, n_trials = 48, 352, 20_000
    lengths = np.random.default_rng(0).normal(size=(n_trials, dimension)) ** 2
    shares = lengths[:, :n].sum(axis=1) / lengths.sum(axis=1)
    largest = 1 / sketch._stretch(n, dimension)
    assert shares.max() < largest
    # Far, but not farther than need be: six standard deviations are exceeded once in a thousand million times.
    assert largest < shares.mean() + 12 * shares.std()
    assert sketch._stretch(dimension - 1, dimension) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("is_rounded", [False, True])
def test_a_basis_is_orthogonal_and_holds_what_the_sample_does(
    monkeypatch: pytest.MonkeyPatch, is_rounded: bool
) -> None:
    monkeypatch.setattr(sketch, "bfloat16_is_faster", lambda device: is_rounded)
    n_leading, n_random = (48, 48) if is_rounded else (32, 48)
    rows = torch.randn(300, 8, generator=torch.Generator().manual_seed(0)) @ torch.randn(8, 260)
    basis = Basis.of(rows)
    products = basis.directions.T @ basis.directions
    expected = torch.ones(n_leading + n_random)
    expected[n_leading:] = basis.stretch
    torch.testing.assert_close(products, torch.diag(expected), rtol=0, atol=1e-5)
    rests = basis.sketches(rows, lengths(rows)).rests
    assert (rests.abs() <= 1e-3 * lengths(rows).square()).all(), "all rows lie in eight dimensions"


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
    # The narrowest ones have sketches in float32 wherever they are.
    for dimension in (170, 200, 384):
        rows = torch.randn(50, dimension)
        sketches = Basis.of(rows).sketches(rows, lengths(rows))
        parts = (sketches.values, sketches.rests, sketches.residuals, sketches.groups)
        assert sum(part.nbytes for part in parts) == 50 * sketch_bytes(dimension, "cpu")
    assert sketch_bytes(100, "cpu") == sketch_bytes(384, "cuda") == 0


def test_sketches_of_whole_rows_are_the_rows_rounded() -> None:
    rows = torch.tensor([[1.0, 1.0 + 2**-9], [3.0, -4.0]])
    whole = WholeRows(2)
    sketches = whole.sketches(rows, lengths(rows))
    assert sketches.values.tolist() == [[1, 1, 1, 1], [3, -4, 1, 1]]
    assert sketches.rests.tolist() == [0, 0]
    assert sketches.groups is None
    taken = torch.linalg.vector_norm(rows - sketches.values[:, :2].float(), dim=1)
    assert (taken <= sketches.residuals).all()
    assert sketches.residuals.tolist() == pytest.approx([2**0.5 / 256, 5 / 256], rel=1e-2)
    assert sketches[torch.tensor([1])].groups is None


@pytest.mark.parametrize("is_rounded", [False, True])
def test_where_sketches_pay(monkeypatch: pytest.MonkeyPatch, is_rounded: bool) -> None:
    monkeypatch.setattr(sketch, "bfloat16_is_faster", lambda device: is_rounded)
    assert is_sketchable(10_000, 300, 384, "cpu")
    assert is_sketchable(10_000, 200, 384, "cpu") != is_rounded
    # Rows that are too narrow for sketches in bfloat16 have some in float32.
    assert is_sketchable(10_000, 200, 180, "cpu")
    assert not is_sketchable(10_000, 300, 384, "cuda")
    assert not is_sketchable(10_000, 200, 100, "cpu")
    assert not is_sketchable(100, 200, 384, "cpu")
    assert not is_sketchable(10**6, 20, 384, "cpu")
    assert sample_for_basis(5).tolist() == [0, 1, 2, 3, 4]
    assert are_worth_rounding(10_000, 20, 100, "cpu") == is_rounded
    assert not are_worth_rounding(10_000, 20, 100, "cuda")
    assert not are_worth_rounding(10_000, 15, 100, "cpu")
    assert not are_worth_rounding(10_000, 20, 60, "cpu")
    assert not are_worth_rounding(1000, 20, 100, "cpu")
    sample = sample_for_basis(10**6)
    assert len(sample) == 2048
    assert (sample[0], sample[-1]) == (0, 10**6 - 1)
