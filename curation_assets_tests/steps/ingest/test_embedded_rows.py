"""Embeddings of any scale become float16 without losing their direction."""

from __future__ import annotations

import numpy as np
import pytest

from curation_assets.steps.ingest.embedded_rows import as_stored

ROWS = np.random.default_rng(0).normal(size=(20, 64))


def cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    a, b = first.astype(np.float64), second.astype(np.float64)
    return (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


@pytest.mark.parametrize(
    ("kind", "scale"),
    [
        ("f4", 1e-8),
        ("f4", 1e-40),
        ("f4", 1e6),
        ("f4", 1e37),
        ("f8", 1e300),
        ("f8", 1e-300),
        ("f8", 1),
        ("f2", 1e-6),
    ],
)
@pytest.mark.parametrize("to_unit", [False, True])
def test_with_cosine_no_scale_loses_rows_or_direction(kind: str, scale: float, to_unit: bool) -> None:
    block = (ROWS * scale).astype(kind)
    stored, fits, has_direction = as_stored(block, "cosine", to_unit=to_unit)
    assert stored.dtype == np.float16
    assert fits.all()
    assert has_direction.all()
    if kind == "f4" and scale == 1e-40:
        block = block / np.float32(1e-40)
    assert cosines(stored, block.astype(np.float64) / np.abs(block).max()).min() > 0.99999
    if to_unit or scale != 1:
        assert np.abs(np.linalg.norm(stored.astype(np.float64), axis=1) - 1).max() < 2e-3


def test_rows_that_float16_holds_well_keep_their_bytes() -> None:
    unit = (ROWS / np.linalg.norm(ROWS, axis=1, keepdims=True)).astype(np.float32)
    for block in (unit, unit * np.float32(1.004)):
        for to_unit in (False, True):
            np.testing.assert_array_equal(
                as_stored(block, "cosine", to_unit=to_unit)[0], block.astype(np.float16)
            )
    larger = (unit * 30).astype(np.float32)
    np.testing.assert_array_equal(as_stored(larger, "cosine")[0], larger.astype(np.float16))


def test_nothing_makes_up_for_zeros_nan_and_infinity_and_l2_keeps_scales() -> None:
    block = np.array([[0, 0], [np.nan, 1], [np.inf, 1], [1e6, 1], [1e-9, 0], [3, 4]])
    stored, fits, has_direction = as_stored(block, "cosine", to_unit=True)
    assert fits.tolist() == [True, False, False, True, True, True]
    assert has_direction.tolist()[0] is False
    np.testing.assert_array_equal(stored[[4, 5]], np.array([[1, 0], [0.6, 0.8]], dtype=np.float16))
    stored, fits, has_direction = as_stored(block, "l2")
    assert fits.tolist() == [True, False, False, False, True, True]
    assert has_direction.tolist() == [False, True, True, True, False, True]
    np.testing.assert_array_equal(stored[5], np.array([3, 4], dtype=np.float16))
