"""How fast a device compares rows with centroids."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch

from curation_assets.algorithms.costs.cards import CARDS
from curation_assets.algorithms.costs.device_rate import (
    ROW_DISTANCES,
    ROW_READINGS,
    DeviceRate,
    Probe,
    _assign,
    card_rate,
    measure_rate,
)


def test_a_card_has_the_rate_that_was_measured_at_its_dimension() -> None:
    assert [card_rate("h200", d).search_flops for d in (64, 384, 767, 768, 4096)] == pytest.approx(
        [416e12, 416e12, 416e12, 483e12, 549e12]
    )
    rate = card_rate("h200", 800)
    assert rate.assign_flops == rate.search_flops
    assert "exact passes measured on one NVIDIA H200" in rate.source


def test_a_card_that_was_never_measured_reaches_a_share_of_its_data_sheet() -> None:
    for name, peak in (("a100", 312e12), ("h100", 989e12), ("l4", 121e12)):
        rate = card_rate(name, 384)
        assert rate.search_flops == pytest.approx(peak * 0.42)
        assert f"{peak / 1e12:g} TFLOP/s peak of the data sheet of the NVIDIA" in rate.source
        assert "x 0.42 utilisation, assumed" in rate.source
    # The share is the least of the card that was measured.
    h200 = CARDS["h200"]
    assert min(flops for _, flops in h200.exact_flops) / h200.peak_flops == pytest.approx(0.42, abs=0.005)


def test_a_peak_or_a_utilisation_of_ones_own_overrides_both() -> None:
    assert card_rate("h200", 1024, tflops=100, utilisation=0.25).search_flops == 25e12
    assert card_rate("h200", 1024, utilisation=0.5).search_flops == pytest.approx(989e12 * 0.5)
    assert card_rate("h200", 1024, tflops=100).search_flops == pytest.approx(42e12)
    assert card_rate(tflops=100, utilisation=0.25).source == "100 TFLOP/s peak x 0.25 utilisation, as given"


def test_rows_cost_distances_on_a_processor_and_readings_on_a_card() -> None:
    assert DeviceRate(1e9, 1e9).row_seconds(50) == pytest.approx(ROW_DISTANCES * 100 / 1e9)
    assert DeviceRate(1e9, 1e9, memory_rate=1e6).row_seconds(50) == pytest.approx(ROW_READINGS * 100 / 1e6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tflops": 0}, "tflops is 0, but must be above 0"),
        ({"tflops": -1}, "tflops is -1, but must be above 0"),
        ({"utilisation": 0}, "utilisation is 0, but must be above 0"),
        ({"utilisation": 1.1}, "utilisation is 1.1, but must be above 0 and at most 1"),
        ({"name": "v100"}, "card is 'v100': choose a100, h100, h200, l4"),
    ],
)
def test_a_card_that_cannot_be_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        card_rate(**settings)


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


def test_a_card_is_measured_on_more_rows_that_fit_it() -> None:
    card = torch.device("cuda", 0)
    assert Probe.of(384, torch.device("cpu")) == Probe(4096, 1024)
    assert Probe.of(384, card) == Probe(2**18, 4096)
    assert Probe.of(4096, card).n_rows * 4096 * 4 == 2**29
    # What is measured on a card runs on any device.
    rows = torch.rand(300, 8)
    _assign(rows, rows[:5])
    assert measure_rate(8, probe=Probe(100, 30)).assign_flops > 0
