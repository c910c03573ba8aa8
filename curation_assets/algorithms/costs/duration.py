"""How long the stages of a plan take on given hardware."""

from __future__ import annotations

from dataclasses import dataclass

from curation_assets.algorithms.costs.device_rate import (
    PASS_SECONDS,
    SMALL_PRODUCT_SECONDS,
    STEP_SECONDS,
    DeviceRate,
)
from curation_assets.algorithms.costs.model import StageCost


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """What a plan runs on.

    Raises:
        ValueError: if a value is not above 0.
    """

    rate: DeviceRate
    devices: int = 1
    """Devices of that rate, of all workers together."""
    workers: int = 1
    """Processes, each with a disk and a network link of its own."""
    disk_bytes_per_second: float = 1e9
    network_bytes_per_second: float = 3e9

    def __post_init__(self) -> None:
        for name in ("devices", "workers", "disk_bytes_per_second", "network_bytes_per_second"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}, but must be above 0")


@dataclass(frozen=True, slots=True)
class StageTime:
    """Seconds of a stage."""

    compute: float
    disk: float
    """Of reading and writing, or of copying what is read to the cards if that takes longer."""
    network: float

    @property
    def total(self) -> float:
        """Rows are read ahead while others are worked on; sums and centroids are sent between passes."""
        return max(self.compute, self.disk) + self.network


def stage_time(stage: StageCost, dimension: int, hardware: Hardware) -> StageTime:
    """Seconds that a stage of a plan takes for rows of `dimension` values."""
    rate, work, n_fits = hardware.rate, stage.work, stage.n_fits
    per_distance = 2 * dimension / rate.search_flops
    from_scratch = stage.stage in ("assign", "re-assign")
    compute = stage.distances * (2 * dimension / rate.assign_flops if from_scratch else per_distance)
    compute += n_fits * work.passes * stage.n_rows * rate.row_seconds(dimension)
    compute += n_fits * work.small_products * SMALL_PRODUCT_SECONDS
    fixed = n_fits * (
        PASS_SECONDS * work.passes + STEP_SECONDS * work.steps + rate.proposal_seconds * work.proposals
    )
    if stage.stage == "splits":
        # Splits are independent; everything else waits for what came before it.
        fixed /= hardware.devices * rate.small_fits_at_once
    return StageTime(
        compute / hardware.devices + fixed,
        max(_disk_seconds(stage, hardware), _link_seconds(stage, hardware)),
        stage.network_bytes / (hardware.workers * hardware.network_bytes_per_second),
    )


def _disk_seconds(stage: StageCost, hardware: Hardware) -> float:
    moved = stage.read_bytes + stage.written_bytes
    return moved / (hardware.workers * hardware.disk_bytes_per_second)


def _link_seconds(stage: StageCost, hardware: Hardware) -> float:
    link = hardware.rate.link_rate
    return 0.0 if link is None else stage.read_bytes / (hardware.devices * link)
