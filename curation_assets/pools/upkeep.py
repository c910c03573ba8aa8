"""How a pool that grows is taken care of."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field, NonNegativeFloat, PositiveInt, field_validator

from curation_assets.pools.base import Settings


class RefitSettings(Settings):
    """When rows that arrived lead to a new tree; until then they are assigned to the one there is.

    `refit: never` in the YAML stands for null in all three.
    """

    new_rows: Annotated[float, Field(gt=0.0)] | None = Field(
        0.2,
        description="Refit when rows that came or went since the fit exceed this share of the fitted rows.",
    )
    drift_score: Annotated[float, Field(gt=0.0, le=1.0)] | None = Field(
        0.5, description="Refit when a shard that came since the fit has a higher drift score than this."
    )
    schedule: str | None = Field(
        None, description="Cron expression, e.g. '0 3 * * 0': a Dagster schedule that refits at these times."
    )
    keep_trees: PositiveInt = Field(
        5, description="Versions of the tree that stay readable, with the current one."
    )

    @field_validator("schedule")
    @classmethod
    def _schedule_has_five_fields(cls, value: str | None) -> str | None:
        return _checked_cron(value)


class WatchSettings(Settings):
    """How the pool's sensor takes in what arrives."""

    interval_seconds: PositiveInt = Field(30, description="Least time between two ticks of the sensor.")
    settle_seconds: NonNegativeFloat = Field(
        10.0, description="A file is taken once its size and time have not changed for this long."
    )
    unclosed_seconds: NonNegativeFloat = Field(
        3600.0,
        description="A tar without its closing blocks is waited for this long, then taken for what it holds.",
    )
    retry_seconds: NonNegativeFloat = Field(
        60.0, description="Wait after a first failure; each further one doubles it, up to a day."
    )
    shards_per_run: PositiveInt = Field(500, description="Most shards that one run of the sensor takes in.")
    nightly: str = Field(
        "0 2 * * *", description="Cron expression of the nightly schedule, which is off by default."
    )

    @field_validator("nightly")
    @classmethod
    def _nightly_has_five_fields(cls, value: str) -> str:
        return _checked_cron(value) or value


def _checked_cron(value: str | None) -> str | None:
    if value is not None and not re.fullmatch(r"(\S+\s+){4}\S+", value.strip()):
        raise ValueError(
            "a cron expression has five fields: minute, hour, day, month, weekday, e.g. '0 3 * * 0'"
        )
    return value
