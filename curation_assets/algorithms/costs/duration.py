"""How long the stages of a plan take on given hardware."""

from __future__ import annotations

from dataclasses import dataclass

from curation_assets.algorithms.costs.device_rate import (
    PASS_SECONDS,
    ROW_DISTANCES,
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
    compute += n_fits * work.passes * stage.n_rows * ROW_DISTANCES * per_distance
    compute += n_fits * work.small_products * SMALL_PRODUCT_SECONDS
    fixed = n_fits * (PASS_SECONDS * work.passes + STEP_SECONDS * work.steps)
    if stage.stage == "splits":
        # Splits are independent; everything else waits for what came before it.
        fixed /= hardware.devices * rate.small_fits_at_once
    return StageTime(
        compute / hardware.devices + fixed,
        (stage.read_bytes + stage.written_bytes) / (hardware.workers * hardware.disk_bytes_per_second),
        stage.network_bytes / (hardware.workers * hardware.network_bytes_per_second),
    )
