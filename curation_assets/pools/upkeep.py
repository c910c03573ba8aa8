"""How a growing pool is kept up to date."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, NonNegativeFloat, PositiveInt

from curation_assets.pools.base import Settings
from curation_assets.pools.cron import Cron


class RefitSettings(Settings):
    """When new rows lead to a new tree. Until then they are assigned to the present one.

    `refit: never` sets `new_rows` and `drift_score` to null.
    """

    new_rows: Annotated[float, Field(gt=0.0)] | None = Field(
        0.2,
        description="Refit when the rows added and removed since the fit exceed this share of the fitted rows. `null` "
        "ignores their number.",
        examples=[0.5],
    )
    drift_score: Annotated[float, Field(gt=0.0, le=1.0)] | None = Field(
        0.5,
        description="Refit when a shard that arrived since the fit has a higher drift score. `null` ignores drift.",
        examples=[0.3],
    )
    schedule: Cron | None = Field(
        None,
        description="Cron expression of a Dagster schedule that refits if any row was added or removed.",
        examples=["0 3 * * 0"],
    )
    keep_trees: PositiveInt = Field(
        5, description="Versions of the tree that stay readable, including the current one.", examples=[2]
    )


class WatchSettings(Settings):
    """How the sensor of the pool takes in new files."""

    interval_seconds: PositiveInt = Field(
        30, description="Shortest time between two ticks of the sensor, in seconds.", examples=[300]
    )
    settle_seconds: NonNegativeFloat = Field(
        10.0,
        description="A file is taken in once its size and time have been the same for this many seconds.",
        examples=[60],
    )
    unclosed_seconds: NonNegativeFloat = Field(
        3600.0,
        description="A tar without its closing blocks is taken in, with the samples it holds, after this many seconds.",
        examples=[600],
    )
    retry_seconds: NonNegativeFloat = Field(
        60.0,
        description="Seconds to wait after a failure. Each further failure doubles it, up to a day.",
        examples=[300],
    )
    shards_per_run: PositiveInt = Field(
        500, description="Most shards that one run of the sensor takes in.", examples=[100]
    )
    nightly: Cron = Field(
        "0 2 * * *",
        description="Cron expression of the nightly schedule. The schedule is off until you switch it on.",
        examples=["30 4 * * *"],
    )
