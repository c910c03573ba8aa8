"""Seconds of a stage, worked by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.algorithms.costs.device_rate import (
    CARD_PROPOSAL_SECONDS,
    PASS_SECONDS,
    ROW_DISTANCES,
    ROW_READINGS,
    SMALL_PRODUCT_SECONDS,
    STEP_SECONDS,
    DeviceRate,
)
from curation_assets.algorithms.costs.duration import Hardware, StageTime, stage_time
from curation_assets.algorithms.costs.kmeans_cost import FitCost
from curation_assets.algorithms.costs.model import Stage, StageCost

RATE = DeviceRate(search_flops=1e9, assign_flops=0.5e9, small_fits_at_once=2)
D = 50


def cost(stage: Stage, n_fits: int = 1, network: int = 0) -> StageCost:
    return StageCost(
        level=1,
        stage=stage,
        n_rows=1000,
        n_clusters=100,
        n_fits=n_fits,
        work=FitCost(10**6, passes=4, steps=3, proposals=7, small_products=5),
        read_bytes=3 * 10**9,
        written_bytes=10**9,
        network_bytes=network,
    )


def test_computing_is_distances_rows_and_small_steps() -> None:
    # 100 operations a distance at 1e9 a second: 1e-7 s.
    rows = 4 * 1000 * ROW_DISTANCES * 1e-7
    small, fixed = 5 * SMALL_PRODUCT_SECONDS, 4 * PASS_SECONDS + 3 * STEP_SECONDS
    time = stage_time(cost("Lloyd"), D, Hardware(rate=RATE))
    assert time.compute == pytest.approx(0.1 + rows + small + fixed)
    # From scratch a distance takes twice as long here.
    assert stage_time(cost("assign"), D, Hardware(rate=RATE)).compute == pytest.approx(
        0.2 + rows + small + fixed
    )
    # Two devices halve all but the steps that wait for each other.
    halved = stage_time(cost("Lloyd"), D, Hardware(rate=RATE, devices=2))
    assert halved.compute == pytest.approx((0.1 + rows + small) / 2 + fixed)


def test_a_card_reads_rows_from_its_memory_and_waits_for_proposals() -> None:
    card = Hardware(rate=replace(RATE, memory_rate=1e6, link_rate=1e7))
    rows = 4 * 1000 * ROW_READINGS * 2 * D / 1e6
    fixed = 4 * PASS_SECONDS + 3 * STEP_SECONDS + 7 * CARD_PROPOSAL_SECONDS
    time = stage_time(cost("Lloyd"), D, card)
    assert time.compute == pytest.approx(0.1 + rows + 5 * SMALL_PRODUCT_SECONDS + fixed)
    # 3 GB at 10 MB/s to the card take longer than 4 GB at 1 GB/s of the disk.
    assert time.disk == pytest.approx(300.0)
    assert stage_time(cost("Lloyd"), D, replace(card, devices=100)).disk == 4.0


def test_splits_share_their_small_steps() -> None:
    fits = stage_time(cost("splits", n_fits=10), D, Hardware(rate=RATE))
    rows = 4 * 1000 * ROW_DISTANCES * 1e-7
    fixed = (4 * PASS_SECONDS + 3 * STEP_SECONDS) / 2
    assert fits.compute == pytest.approx(10 * (0.1 + rows + 5 * SMALL_PRODUCT_SECONDS + fixed))


def test_each_worker_has_a_disk_and_a_link() -> None:
    hardware = Hardware(rate=RATE, workers=4, disk_bytes_per_second=1e8, network_bytes_per_second=2e8)
    time = stage_time(cost("runs", network=8 * 10**8), D, hardware)
    assert (time.disk, time.network) == (10.0, 1.0)


def test_reading_hides_behind_computing_and_sending_does_not() -> None:
    assert StageTime(compute=5.0, disk=3.0, network=1.0).total == 6.0
    assert StageTime(compute=2.0, disk=3.0, network=1.0).total == 4.0


@pytest.mark.parametrize("name", ["devices", "workers", "disk_bytes_per_second", "network_bytes_per_second"])
def test_hardware_has_to_be_there(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is 0, but must be above 0"):
        Hardware(rate=RATE, **{name: 0})  # type: ignore[arg-type]


@given(st.integers(1, 64), st.sampled_from(["seeds", "Lloyd", "splits", "assign", "re-assign"]))
def test_more_hardware_takes_no_longer(n: int, stage: Stage) -> None:
    few, many = (
        stage_time(cost(stage, n_fits=7, network=10**9), D, Hardware(rate=RATE, devices=m, workers=m))
        for m in (n, n + 1)
    )
    assert many.compute < few.compute
    assert many.total < few.total
