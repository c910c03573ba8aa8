"""Balance metrics, worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from curation_assets.algorithms.balance import (
    balance_of,
    effective_number,
    gini,
    has_collapsed,
    kl_to_uniform,
)


def test_effective_number() -> None:
    assert effective_number(np.array([5, 5, 5, 5])) == pytest.approx(4)
    assert effective_number(np.array([7, 0, 0])) == pytest.approx(1)
    assert effective_number(np.array([2, 1, 1])) == pytest.approx(2**1.5)
    assert effective_number(np.array([])) == 0
    for bad in ([-1, 2], [np.nan, 1]):
        with pytest.raises(ValueError, match="finite and not negative"):
            effective_number(np.array(bad))


def test_gini_and_shares() -> None:
    assert gini(np.array([3, 3, 3])) == pytest.approx(0)
    assert gini(np.array([0, 0, 0, 8])) == pytest.approx(0.75)
    balance = balance_of(np.array([6, 2, 0]))
    assert (balance.largest_share, balance.n_empty) == (0.75, 1)


def test_a_level_has_collapsed_if_one_cluster_holds_too_much() -> None:
    assert not has_collapsed(np.array([30, 20, 20, 15, 15]), 0.3), "at the limit"
    assert has_collapsed(np.array([31, 19, 20, 15, 15]), 0.3)
    assert not has_collapsed(np.array([31, 19, 20, 15, 15]), 0.4)
    assert not has_collapsed(np.array([37, 33, 30]), 0.3), "of three, a third each is even"
    assert has_collapsed(np.array([51, 29, 20]), 0.3)
    assert not has_collapsed(np.array([8]), 0.3), "one cluster has nothing to be uneven with"
    assert not has_collapsed(np.array([0, 0]), 0.3)


def test_kl_is_small_for_even_points_and_large_for_a_blob() -> None:
    axis = np.linspace(-2.9, 2.9, 20)
    grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    blob = np.random.default_rng(0).normal(size=(400, 2)) * 0.3
    assert kl_to_uniform(grid) < 0.03
    assert kl_to_uniform(blob) > 1
