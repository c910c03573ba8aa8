"""What float32 sums may be off by."""

from __future__ import annotations

import numpy as np
import pytest

from curation_assets.algorithms.search.rounding_errors import product_error


def test_by_hand() -> None:
    # 8 x sqrt(98 + 2) / 2^24.
    assert product_error(98) == pytest.approx(80 / 2**24)


@pytest.mark.parametrize("dimension", [2, 384, 4096])
def test_products_stay_within_it(dimension: int) -> None:
    rng = np.random.default_rng(0)
    left, right = (rng.normal(size=(500, dimension)).astype(np.float32) for _ in range(2))
    exact = np.einsum("ij,ij->i", left.astype(np.float64), right.astype(np.float64))
    # One after another, which is the worst order.
    one_by_one = np.cumsum(left * right, axis=1, dtype=np.float32)[:, -1]
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    assert (np.abs(one_by_one - exact) <= product_error(dimension) * lengths).all()
