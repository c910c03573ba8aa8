"""Settings of the table for visual exploration."""

from __future__ import annotations

from pydantic import Field, PositiveInt

from curation_assets.pools.base import Settings


class AtlasSettings(Settings):
    """A table for visual exploration, with the columns of Apple's Embedding Atlas. `atlas: null` leaves it out."""

    max_rows: PositiveInt = Field(
        10_000, description="Most rows of the table. A larger pool is sampled.", examples=[20_000]
    )
    n_neighbours: PositiveInt = Field(
        10, description="Nearest neighbours listed for each row, among the rows of the table.", examples=[15]
    )
    thumbnail_pixels: PositiveInt = Field(
        96, description="Longer side of the thumbnails, in pixels.", examples=[128]
    )
