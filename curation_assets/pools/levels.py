"""How embeddings are prepared and clustered."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from curation_assets.algorithms.settings import (
    DEFAULT_MAX_ITERATIONS,
    DEFAULT_TOLERANCE,
    Metric,
    Strategy,
    default_resampling_steps,
)
from curation_assets.pools.base import Auto, Settings


class PreprocessingSettings(Settings):
    """How embeddings are prepared for level 1."""

    metric: Metric = Field(
        "cosine",
        description="`cosine` normalises the embeddings and the centroids of every level; `l2` normalises neither.",
        examples=["l2"],
    )
    centring: bool = Field(
        False,
        description="Subtract the pool's mean embedding before normalising. Helps features of convolutional networks, "
        "which share a large common component.",
        examples=[True],
    )


class LevelSettings(Settings):
    """One level of the hierarchy, level 1 first. `auto` values are planned from the number of rows."""

    n_clusters: PositiveInt | Auto = Field(
        "auto",
        description="Clusters of the level, fewer than those of the level below. `auto` at every level or at none.",
        examples=[2000],
    )
    resampling_steps: NonNegativeInt | None = Field(
        None,
        description="Resampling steps. `null` means 0 at level 1, and 10 at the levels above.",
        examples=[3],
    )
    samples_per_cluster: PositiveInt | Auto = Field(
        "auto",
        description="Inputs that a resampling step keeps per cluster. `auto` keeps half of the mean cluster size.",
        examples=[5],
    )
    strategy: Strategy = Field(
        "closest",
        description="Which inputs a resampling step keeps: those closest to the centroid, or random ones.",
        examples=["random"],
    )
    n_coarse_clusters: PositiveInt | None = Field(
        None,
        description="Makes level 1 a split level: fits this many clusters, then splits each into `n_clusters` / "
        "`n_coarse_clusters`. `n_clusters` must be a multiple of it.",
        examples=[100],
    )
    max_iterations: PositiveInt = Field(
        DEFAULT_MAX_ITERATIONS, description="Most Lloyd iterations of each fit of the level.", examples=[20]
    )
    tolerance: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(
        DEFAULT_TOLERANCE,
        description="A fit stops when an iteration improves the inertia by less than this share.",
        examples=[1.0e-3],
    )

    def steps_at(self, level: int) -> int:
        """Resampling steps if these are the settings of that level, 1 for the lowest."""
        return default_resampling_steps(self.resampling_steps, level)

    @model_validator(mode="after")
    def _split_level_is_consistent(self) -> LevelSettings:
        if self.n_coarse_clusters is None:
            return self
        if self.n_clusters == "auto" or self.n_clusters % self.n_coarse_clusters:
            raise ValueError(
                f"a split level needs n_clusters as a multiple of n_coarse_clusters, got n_clusters="
                f"{self.n_clusters} and n_coarse_clusters={self.n_coarse_clusters}"
            )
        if self.resampling_steps:
            raise ValueError(
                f"a split level is not resampled: set resampling_steps to 0, got {self.resampling_steps}"
            )
        return self
