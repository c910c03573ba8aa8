"""Of what rows' sketches consist, and where they pay."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from curation_assets.algorithms.search.cpu import sketch
from curation_assets.algorithms.search.cpu.sketch import (
    Basis,
    Sketches,
    SketchKind,
    WholeRows,
)
from curation_assets_tests.algorithms.small_fits import lengths

KINDS = [SketchKind(32, 48), SketchKind(48, 48, is_rounded=True)]


def test_the_stretch_is_what_random_directions_hardly_exceed() -> None:
    n, dimension, n_trials = 48, 352, 20_000
    lengths = np.random.default_rng(0).normal(size=(n_trials, dimension)) ** 2
    shares = lengths[:, :n].sum(axis=1) / lengths.sum(axis=1)
    largest = 1 / sketch._stretch(n, dimension)
    assert shares.max() < largest
    # Far, but not farther than need be: six standard deviations are exceeded once in a thousand million times.
    assert largest < shares.mean() + 12 * shares.std()
    assert sketch._stretch(dimension - 1, dimension) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_a_basis_is_orthogonal_and_holds_what_the_sample_does(kind: SketchKind) -> None:
    rows = torch.randn(300, 8, generator=torch.Generator().manual_seed(0)) @ torch.randn(8, 260)
    basis = Basis.of(rows, kind)
    products = basis.directions.T @ basis.directions
    expected = torch.ones(kind.n_directions)
    expected[kind.n_leading :] = basis.stretch
    torch.testing.assert_close(products, torch.diag(expected), rtol=0, atol=1e-5)
    rests = basis.view(rows, lengths(rows)).rests
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


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_sketch_takes(kind: SketchKind) -> None:
    rows = torch.randn(50, 200)
    sketches = Basis.of(rows, kind).view(rows, lengths(rows))
    parts = (sketches.values, sketches.rests, sketches.residuals, sketches.groups)
    assert sum(part.nbytes for part in parts) == 50 * kind.row_bytes


def test_sketches_of_whole_rows_are_the_rows_rounded() -> None:
    rows = torch.tensor([[1.0, 1.0 + 2**-9], [3.0, -4.0]])
    whole = WholeRows(2)
    sketches = whole.view(rows, lengths(rows))
    assert sketches.values.tolist() == [[1, 1, 1, 1], [3, -4, 1, 1]]
    assert sketches.rests.tolist() == [0, 0]
    assert sketches.groups is None
    taken = torch.linalg.vector_norm(rows - sketches.values[:, :2].float(), dim=1)
    assert (taken <= sketches.residuals).all()
    assert sketches.residuals.tolist() == pytest.approx([2**0.5 / 256, 5 / 256], rel=1e-2)
    assert sketches[torch.tensor([1])].groups is None
