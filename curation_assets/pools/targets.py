"""Which subsets are drawn from the tree, and the forms they are written in."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from curation_assets.algorithms.settings import Strategy
from curation_assets.errors import PoolSpecError
from curation_assets.pools.base import Settings

OutputFormat = Literal["webdataset", "parquet", "ids", "weights"]
"""`ids` lists the selected samples; `weights` gives every admissible sample its share of the target."""


class TargetSettings(Settings):
    """One balanced subset to draw from the tree. Set exactly one of `size`, `fraction` and `tokens`."""

    name: str = Field(
        pattern=r"^[a-z][a-z0-9_]{0,39}$",
        description="Name of the target, and of its folder: lower-case letters, digits and underscores, at most 40.",
        examples=["balanced_10"],
    )
    size: PositiveInt | None = Field(None, description="Number of samples to select.", examples=[1_000_000])
    fraction: Annotated[float, Field(gt=0.0, le=1.0)] | None = Field(
        None,
        description="Share of the admissible samples to select. Rejected, contaminated and duplicate samples are not "
        "admissible.",
        examples=[0.1],
    )
    tokens: PositiveInt | None = Field(
        None, description="Number of tokens to select.", examples=[2_000_000_000]
    )
    strategy: Strategy = Field(
        "random",
        description="Which samples of a level-1 cluster are taken: random ones, or those closest to the centroid.",
        examples=["closest"],
    )

    @model_validator(mode="after")
    def _one_measure(self) -> TargetSettings:
        given = {"size": self.size, "fraction": self.fraction, "tokens": self.tokens}
        if sum(value is not None for value in given.values()) != 1:
            values = ", ".join(f"{name}={value}" for name, value in given.items())
            raise ValueError(
                f"target '{self.name}' needs exactly one of size, fraction and tokens, got {values}"
            )
        return self

    def resolve(self, n_admissible: int) -> int:
        """The size of the target in samples, or in tokens if it is given in tokens.

        Args:
            n_admissible: admissible samples of the pool, or their tokens.

        Raises:
            PoolSpecError: if the target is larger than the pool.
        """
        if self.tokens is not None:
            if self.tokens > n_admissible:
                raise PoolSpecError(
                    f"targets.{self.name}.tokens is {self.tokens:,}, but the admissible samples of the pool have "
                    f"only {n_admissible:,} tokens: choose from 1 to {n_admissible:,}"
                )
            return self.tokens
        size = self.size if self.size is not None else round((self.fraction or 0.0) * n_admissible)
        if size > n_admissible:
            raise PoolSpecError(
                f"targets.{self.name}.size is {size:,}, but the pool has only {n_admissible:,} admissible "
                f"samples: choose a size from 1 to {n_admissible:,}"
            )
        return max(size, 1)
