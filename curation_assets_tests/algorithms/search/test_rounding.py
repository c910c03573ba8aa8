"""What rounding may change."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from curation_assets.algorithms.search.rounding import (
    TWO_TERM_ROUNDOFF,
    float32_accumulation,
    product_error,
    rounding_residuals,
    two_terms,
)


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


def test_residuals_are_what_rounding_takes() -> None:
    exact = torch.tensor([[1.0, 0.5], [0.0, 2.0]])
    assert np.allclose(rounding_residuals(exact), 0.0)
    assert rounding_residuals(torch.tensor([[1.0 + 2.0**-9, 0.0]]))[0] == pytest.approx(2.0**-9, rel=1e-3)


def test_two_terms_stand_for_a_number() -> None:
    values = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    first, second = two_terms(values)
    assert first.dtype == second.dtype == torch.bfloat16
    error = (first.double() + second.double() - values.double()).abs()
    assert (error <= TWO_TERM_ROUNDOFF * values.abs().double()).all()


def test_shortcuts_of_cuda_are_off_inside_the_block_and_back_after_it() -> None:
    settings = torch.backends.cuda.matmul
    before = settings.allow_tf32, settings.allow_bf16_reduced_precision_reduction
    settings.allow_tf32 = True
    try:
        with float32_accumulation():
            assert (settings.allow_tf32, settings.allow_bf16_reduced_precision_reduction) == (False, False)
        assert (settings.allow_tf32, settings.allow_bf16_reduced_precision_reduction) == (True, before[1])
    finally:
        settings.allow_tf32 = before[0]
