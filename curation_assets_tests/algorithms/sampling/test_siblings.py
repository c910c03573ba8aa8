"""Real-valued shares of siblings, and powers that are the same on every machine."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.algorithms.sampling.siblings import Siblings, power


def shares(sizes: list[int], quota: float, evenness: float) -> np.ndarray:
    """Of the children of one parent."""
    array = np.array(sizes, dtype=np.int64)
    siblings = Siblings.of(array, np.zeros(len(sizes), dtype=np.int64), 1)
    return siblings.shares(np.array([quota]), evenness)


def test_powers_are_products_of_square_roots() -> None:
    bases = np.array([0.0, 1.0, 16.0, 81.0, 10.0])
    assert power(bases, 0.25).tolist() == [0, 1, 2, 3, np.sqrt(np.sqrt(10))]
    assert power(bases, 0.75)[:4].tolist() == [0, 1, 8, 27]
    assert power(bases, 1.0).tolist() == bases.tolist()
    assert power(bases[1:], 0.0).tolist() == [1, 1, 1, 1]


@given(st.floats(0, 1), st.integers(0, 2**53))
def test_powers_are_powers(exponent: float, base: int) -> None:
    exponent = round(exponent * 2**20) / 2**20
    expected = float(base) ** exponent
    assert power(np.full(3, float(base)), exponent) == pytest.approx(np.full(3, expected), rel=1e-12)


def test_long_arrays_are_worked_on_in_pieces() -> None:
    bases = np.arange(100_000, dtype=np.float64)
    np.testing.assert_array_equal(power(bases, 0.5), np.sqrt(bases))


def test_shares_worked_by_hand() -> None:
    # Square roots 1, 2, 3, 4: of 10 samples 1, 2, 3, 4.
    assert shares([16, 9, 4, 1], 10, 0.5) == pytest.approx([4, 3, 2, 1])
    # Of 20, 2 each; the last has 1 only, and the other 19 are shared 4 : 3 : 2; so the third is short of 19 / 9 * 2.
    assert shares([16, 9, 4, 1], 20, 0.5) == pytest.approx([60 / 7, 45 / 7, 4, 1])
    assert shares([16, 9, 4, 1], 0.5, 0.5) == pytest.approx([0.2, 0.15, 0.1, 0.05])
    assert shares([1, 2, 10, 20], 10, 1.0) == pytest.approx([1, 2, 3.5, 3.5])
    assert shares([1, 2, 10, 20], 11, 0.0) == pytest.approx([1 / 3, 2 / 3, 10 / 3, 20 / 3])
    assert shares([0, 5, 0], 2, 0.75).tolist() == [0, 2, 0]
    assert shares([3, 5, 0], 8, 0.3).tolist() == [3, 5, 0]
    assert shares([3, 5], 0, 0.3).tolist() == [0, 0]


def test_parents_without_children_have_no_part() -> None:
    siblings = Siblings.of(np.array([4, 9, 7]), np.array([2, 2, 0]), 4)
    assert siblings.available.tolist() == [7, 0, 13, 0]
    found = siblings.shares(np.array([3.5, 0.0, 2.5, 0.0]), 0.5)
    assert found == pytest.approx([1.0, 1.5, 3.5])


@given(
    st.lists(st.integers(0, 10**9), min_size=1, max_size=40).filter(any),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_shares_are_the_one_cut_that_fits(sizes: list[int], part: float, evenness: float) -> None:
    quota = part * sum(sizes)
    found = shares(sizes, quota, evenness)
    array = np.array(sizes, dtype=np.float64)
    assert found.sum() == pytest.approx(quota, rel=1e-9)
    assert (found <= array).all()
    assert (found >= 0).all()
    weights = power(array, 1 - evenness)
    cut = found < array
    if quota and cut.any():
        levels = found[cut] / weights[cut]
        # Weights are multiples of 2^-20 or less.
        assert levels.max() == pytest.approx(levels.min(), rel=1e-5)
        assert (array[~cut] <= levels.max() * weights[~cut] * (1 + 1e-5)).all()


@given(st.integers(0, 1000), st.floats(0, 1))
def test_shares_do_not_depend_on_the_order_of_clusters(seed: int, evenness: float) -> None:
    rng = np.random.default_rng(seed)
    sizes, parents = rng.integers(0, 10**6, 80), rng.integers(0, 5, 80)
    quotas = np.bincount(parents, weights=sizes, minlength=5) * rng.random(5)
    found = Siblings.of(sizes, parents, 5).shares(quotas, evenness)
    order = rng.permutation(80)
    again = Siblings.of(sizes[order], parents[order], 5).shares(quotas, evenness)
    assert again.tobytes() == found[order].tobytes()
