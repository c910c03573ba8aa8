"""How embeddings are prepared and clustered."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from curation_assets.pools.base import Auto, Metric, SelectionStrategy, Settings


class PreprocessingSettings(Settings):
    """How embeddings become inputs of level 1."""

    metric: Metric = Field(
        "cosine", description="'cosine' normalises inputs and every level's centroids; 'l2' does neither."
    )
    centring: bool = Field(
        False, description="Subtract the pool's mean embedding before normalising: helps CNN features."
    )


class LevelSettings(Settings):
    """One level of the hierarchy; `auto` values are planned from the pool's size when it is known."""

    n_clusters: PositiveInt | Auto = "auto"
    resampling_steps: NonNegativeInt | None = Field(
        None, description="Resampling steps; null means 10, or 0 for a split level."
    )
    samples_per_cluster: PositiveInt | Auto = Field(
        "auto",
        description="Inputs kept per cluster in a resampling step; auto is half the mean cluster size.",
    )
    strategy: SelectionStrategy = Field("closest", description="Which inputs a resampling step keeps.")
    n_coarse_clusters: PositiveInt | None = Field(
        None, description="Split level: fit this many clusters, then split each into n_clusters / this."
    )
    max_iterations: PositiveInt = 50
    tolerance: Annotated[float, Field(ge=0.0, lt=1.0)] = 1e-4

    @property
    def steps(self) -> int:
        """Resampling steps that will be run."""
        if self.resampling_steps is not None:
            return self.resampling_steps
        return 0 if self.n_coarse_clusters else 10

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
