"""How fast a device compares rows with centroids."""

from __future__ import annotations

import time

import pytest

from curation_assets.algorithms.costs.device_rate import gpu_rate, measure_rate


def test_a_gpu_reaches_a_share_of_its_peak() -> None:
    assert gpu_rate(100, 0.25).search_flops == gpu_rate(100, 0.25).assign_flops == 25e12
    assert gpu_rate().search_flops == pytest.approx(312e12 * 0.4)
    assert gpu_rate(100, 0.25).source == "100 TFLOP/s peak x 0.25 utilisation, assumed"


@pytest.mark.parametrize(("tflops", "utilisation"), [(0, 0.5), (-1, 0.5), (100, 0), (100, 1.1)])
def test_a_gpu_that_cannot_be_is_refused(tflops: float, utilisation: float) -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        gpu_rate(tflops, utilisation)


@pytest.mark.parametrize("dimension", [16, 384])
def test_this_machine_is_measured(dimension: int) -> None:
    # With and without bfloat16, which is not worthwhile for short rows.
    began = time.process_time()
    rate = measure_rate(dimension)
    spent = time.process_time() - began
    flops = 2 * dimension * 4096 * 1024
    # Each probe ran at least six times, so one of them took no more than a sixth of all the time.
    assert rate.search_flops > 0.1 * flops / max(spent, 1e-3)
    assert 1e7 < rate.assign_flops < 1e15
    assert rate.small_fits_at_once >= 1
    assert "measured" in rate.source
