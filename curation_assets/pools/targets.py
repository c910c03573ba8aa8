"""Which subsets are drawn from the tree, and in what form they come out."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from curation_assets.errors import PoolSpecError
from curation_assets.pools.base import SelectionStrategy, Settings

OutputFormat = Literal["webdataset", "parquet", "ids", "weights"]
"""`ids` lists the selected samples, `weights` gives every admissible one its share of the target."""


class TargetSettings(Settings):
    """One balanced subset to draw from the tree."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")
    size: PositiveInt | None = Field(None, description="Samples to select.")
    fraction: Annotated[float, Field(gt=0.0, le=1.0)] | None = Field(
        None, description="Share of the admissible samples to select, instead of `size`."
    )
    tokens: PositiveInt | None = Field(None, description="Tokens to select, instead of `size`.")
    strategy: SelectionStrategy = Field("random", description="Which samples of a level-1 cluster are taken.")

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
        """Samples to select out of `n_admissible`; of a target in tokens, tokens out of so many.

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
