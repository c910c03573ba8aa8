"""Shares rounded to whole numbers: exact totals, within one, on average right."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.algorithms.sampling.rounding import round_shares


def round_flat(shares: list[float], total: int, start: float, room: int = 100) -> list[int]:
    k = len(shares)
    sizes = np.full(k, room)
    return round_shares(np.array(shares), sizes, total, [], [np.arange(k)], start).tolist()


def test_marks_one_apart_round_up_the_clusters_that_they_fall_on() -> None:
    # Fractional parts end at 0.5, 0.75, 1.5 and 2; marks at 0.4 and 1.4, then at 0.6 and 1.6.
    shares = [1.5, 0.25, 2.75, 0.5]
    assert round_flat(shares, 5, start=0.6) == [2, 0, 3, 0]
    assert round_flat(shares, 5, start=0.4) == [1, 1, 2, 1]
    assert round_flat([2.0, 3.0], 5, start=0.9) == [2, 3]


def test_siblings_lie_side_by_side_in_the_order_of_priorities() -> None:
    parents, priorities = [np.array([0, 1, 0, 1])], [np.array([3, 2, 1, 0]), np.array([1, 0])]
    # By priority: parent 1 with clusters 3 and 1, then parent 0 with 2 and 0.
    for start, expected in ((0.1, [1, 1, 0, 0]), (0.6, [0, 0, 1, 1])):
        found = round_shares(np.full(4, 0.5), np.ones(4, np.int64), 2, parents, priorities, start)
        assert found.tolist() == expected


@given(
    st.lists(st.floats(0, 50), min_size=1, max_size=40),
    st.floats(0, 1, exclude_max=True),
    st.integers(0, 1000),
)
def test_totals_are_exact_and_each_is_within_one(shares: list[float], start: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    array, k = np.array(shares), len(shares)
    total = round(array.sum())
    array *= total / max(array.sum(), 1e-300)
    sizes = np.ceil(array).astype(np.int64)
    parents, priorities = [rng.integers(0, 5, k)], [rng.permutation(k), rng.permutation(5)]
    found = round_shares(array, sizes, total, parents, priorities, start)
    assert found.sum() == total
    assert (np.abs(found - array) < 1 + 1e-9).all()
    assert ((found >= 0) & (found <= sizes)).all()
    above = np.bincount(parents[0], weights=found - array, minlength=5)
    assert (np.abs(above) < 1 + 1e-9).all()


def test_the_mean_over_all_starts_is_the_share() -> None:
    shares = [0.1, 0.7, 1.2, 0.45, 0.55]
    starts = (np.arange(2000) + 0.5) / 2000
    mean = np.mean([round_flat(shares, 3, start) for start in starts], axis=0)
    np.testing.assert_allclose(mean, shares, atol=1e-3)


@given(st.lists(st.integers(0, 20), min_size=1, max_size=20), st.integers(0, 400), st.booleans())
def test_totals_are_exact_even_of_shares_that_miss_them(sizes: list[int], total: int, half: bool) -> None:
    array = np.array(sizes)
    total = min(total, int(array.sum()))
    shares = array / 2 if half else np.maximum(array - 0.25, 0)
    found = round_shares(shares, array, total, [], [np.arange(len(sizes))], 0.3)
    assert found.sum() == total
    assert ((found >= 0) & (found <= array)).all()
