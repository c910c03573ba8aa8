"""What fits take on a card."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from curation_assets.algorithms.costs.device_memory import (
    device_fit,
    device_fixed_bytes,
    device_memory,
    resident_row_bytes,
)
from curation_assets.algorithms.kmeans.uploads import TILE_BYTES, Uploads
from curation_assets.algorithms.preprocessing import PreparedRows, fit_preprocessing
from curation_assets.algorithms.rows import ArrayRows

GB = 10**9


def test_rows_stay_if_there_is_room_beside_what_a_fit_needs() -> None:
    fit = device_fit(80 * GB, 5_000_000, 1024, 50_000)
    assert fit.rows_bytes == 5_000_000 * (2 * 1024 + 16)
    assert fit.is_resident
    assert fit.total_bytes == fit.rows_bytes + fit.fixed_bytes
    assert 4 * GB < fit.fixed_bytes < 6 * GB
    barely = device_fit(fit.total_bytes, 5_000_000, 1024, 50_000)
    assert barely.is_resident
    streamed = device_fit(fit.total_bytes - 1, 5_000_000, 1024, 50_000)
    assert not streamed.is_resident
    assert streamed.fits
    assert streamed.total_bytes == fit.fixed_bytes + 2 * TILE_BYTES
    assert not device_fit(GB, 5_000_000, 1024, 50_000).fits


def test_rows_are_two_bytes_a_value_and_four_with_a_mean() -> None:
    assert resident_row_bytes(384) == 2 * 384 + 16
    assert resident_row_bytes(385) == 2 * 448 + 16, "a multiple of 64 dimensions"
    assert resident_row_bytes(384, is_centred=True) == 4 * 384 + 16
    assert resident_row_bytes(384, is_level_1=False) == 6 * 384 + 8


@pytest.mark.parametrize("dimension", [1, 64, 70])
def test_a_block_takes_no_more_than_is_planned(dimension: int) -> None:
    rows = ArrayRows(np.ones((9, dimension), dtype=np.float16))
    stored = PreparedRows(rows, fit_preprocessing(rows, metric="cosine", centring=False)).stored()
    assert stored is not None
    block = Uploads(stored, torch.device("cpu"), 9).all()
    assert block.lengths is not None
    # With 8 bytes for a scale and a residual.
    assert block.values.nbytes + block.lengths.nbytes + 9 * 8 == 9 * resident_row_bytes(dimension)


def test_small_fits_need_little() -> None:
    assert device_fixed_bytes(1000, 384, 50) < 4_000_000


def test_the_room_for_rows_is_what_is_left_of_the_budget() -> None:
    memory = device_memory(20 * GB, 1_000_000, 768, 10_000)
    assert memory.room("cuda") == 20 * GB - device_fixed_bytes(1_000_000, 768, 10_000)
    assert device_memory(10**8, 1_000_000, 768, 10_000).room("cuda") == 0
    assert device_memory(None, 1_000_000, 768, 10_000).budget is None
