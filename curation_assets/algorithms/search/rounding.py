"""What rounding may change: sums in float32, and rows and centroids in bfloat16.

The rounding error of a dot product of length d stays below lambda * sqrt(d) * u * |x| |c| with probability
1 - 2d exp(-lambda^2 / 2), in any order of summation (Higham and Mary 2019). lambda = 8 leaves 1e-11.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_ERROR_LAMBDA = 8.0
UNIT_ROUNDOFF = 2.0**-24
"""Of float32."""
VALUE_ROUNDOFF = 2.0**-8
"""Relative change of a number that is rounded to bfloat16, at most."""
TWO_TERM_ROUNDOFF = 2.0**-16
"""Relative error of a number that two in bfloat16 stand for, at most; see `two_terms`."""
PRODUCT_ROUNDOFF = 2 * VALUE_ROUNDOFF
"""Share of a product in bfloat16 by which it may be below the sum that was rounded to it."""
# With a smaller advantage the exact search costs more than the product in bfloat16 saves.
_WORTHWHILE = 1.5


def product_error(n_terms: int) -> float:
    """Error bound of a float32 product of two vectors of `n_terms` values and of unit length."""
    return _ERROR_LAMBDA * math.sqrt(n_terms + 2) * UNIT_ROUNDOFF


@functools.cache
def bfloat16_is_faster(device: str) -> bool:
    """Whether products in bfloat16 clearly beat float32 on a device, measured once in a few milliseconds."""
    if device == "cpu" and torch.backends.cpu.get_cpu_capability() == "AVX2":
        # AVX2 has no bfloat16 instructions, and measuring that takes a quarter of a second.
        return False
    seconds = {}
    for kind in (torch.bfloat16, torch.float32):
        left = torch.ones(1024, 384, dtype=kind, device=device)
        runs = []
        for _ in range(5):
            began = time.perf_counter()
            float((left @ left[:512].T)[0, 0])
            runs.append(time.perf_counter() - began)
        seconds[kind] = min(runs)
    return seconds[torch.float32] > _WORTHWHILE * seconds[torch.bfloat16]


@contextmanager
def float32_accumulation() -> Iterator[None]:
    """Inside the block CUDA multiplies float32 without TF32 and adds up bfloat16 products in float32.

    The error bounds of this package assume both, whatever the process has set.
    """
    settings = torch.backends.cuda.matmul
    before = settings.allow_bf16_reduced_precision_reduction, settings.allow_tf32
    settings.allow_bf16_reduced_precision_reduction, settings.allow_tf32 = False, False
    try:
        yield
    finally:
        settings.allow_bf16_reduced_precision_reduction, settings.allow_tf32 = before


def rounding_residuals(block: torch.Tensor) -> torch.Tensor:
    """|x - bfloat16(x)| of each row of a block float32 (b, d), float32 (b,), rounded up."""
    return torch.linalg.vector_norm(block - block.bfloat16().float(), dim=1) * (1 + 1e-5)


def rounding_error(
    norms: torch.Tensor,
    residuals: torch.Tensor,
    largest_norm: float,
    largest_residual: float,
    of_constants: torch.Tensor | float,
) -> torch.Tensor:
    """Error bound of products of rows and centroids that were rounded to bfloat16, float32 (b,).

    With x' and c' the rounded ones, |x.c - x'.c'| <= |x - x'| |c| + |x'| |c - c'|.

    Args:
        norms: float32 (b,): |x|.
        residuals: float32 (b,): |x - x'|, see `rounding_residuals`.
        largest_norm: of |c|.
        largest_residual: of |c - c'|.
        of_constants: error of numbers that are added to a product.
    """
    of_rows = residuals * largest_norm
    of_centroids = (norms + residuals) * largest_residual
    return (of_rows + of_centroids + of_constants) * (1 + 1e-5)


def two_terms(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Two numbers in bfloat16 for each of float32 (b,); their sum is within `TWO_TERM_ROUNDOFF` of it."""
    first = values.bfloat16()
    return first, (values - first.float()).bfloat16()
