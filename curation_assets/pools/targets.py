"""Which subsets are drawn from the tree, and the forms they are written in."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, field_validator, model_validator

from curation_assets.algorithms.settings import DEFAULT_EVENNESS, Strategy
from curation_assets.errors import PoolSpecError
from curation_assets.pools.base import Auto, Settings

_LEVEL = re.compile(r"level_([1-9][0-9]*)")
OutputFormat = Literal["webdataset", "parquet", "ids", "weights"]
"""`ids` lists the selected samples; `weights` gives every admissible sample its share of the target."""


class ProbeChoice(Settings):
    """Takes the start level from the pool's probe, which needs labels."""

    by: Literal["probe"] = Field(
        description="The level whose subset the asset `probe` learns most from.", examples=["probe"]
    )


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
    balance_from: Auto | Annotated[str, Field(pattern=f"^{_LEVEL.pattern}$")] | ProbeChoice = Field(
        "auto",
        description="Level whose clusters share the target; levels above it are for navigation. `auto` measures the "
        "subset of every level without labels and takes the most varied one, `level_2` names a level, `{by: probe}` "
        "takes the level that the pool's probe learns most from.",
        examples=["level_2"],
    )
    evenness: Annotated[float, Field(ge=0.0, le=1.0)] = Field(
        DEFAULT_EVENNESS,
        description="How even the shares of clusters are: proportional to size^(1 - evenness). 1 gives every cluster "
        "the same, as in the paper; 0 gives each its share of the pool.",
        examples=[0.5],
    )
    seed: NonNegativeInt | None = Field(
        None,
        description="Seed of this target's draw. `null` takes the pool's. Another seed draws again from the same tree.",
        examples=[1],
    )

    @field_validator("balance_from", mode="before")
    @classmethod
    def _names_a_level(cls, value: Any) -> Any:
        is_level = isinstance(value, str) and (value == "auto" or _LEVEL.fullmatch(value))
        if is_level or isinstance(value, ProbeChoice) or value == {"by": "probe"}:
            return value
        shown = f", got {value}" if isinstance(value, dict) else ""
        raise ValueError(f"choose auto, a level such as level_2, or {{by: probe}}{shown}")

    @model_validator(mode="after")
    def _one_measure(self) -> TargetSettings:
        given = {"size": self.size, "fraction": self.fraction, "tokens": self.tokens}
        if sum(value is not None for value in given.values()) != 1:
            values = ", ".join(f"{name}={value}" for name, value in given.items())
            raise ValueError(
                f"target '{self.name}' needs exactly one of size, fraction and tokens, got {values}"
            )
        return self

    @property
    def named_level(self) -> int | None:
        """The level that `balance_from` names; None where it is chosen."""
        found = _LEVEL.fullmatch(self.balance_from) if isinstance(self.balance_from, str) else None
        return int(found[1]) if found else None

    @property
    def measures_levels(self) -> bool:
        """Whether the start level is chosen by measures without labels."""
        return self.balance_from == "auto"

    @property
    def asks_probe(self) -> bool:
        """Whether the probe chooses the start level."""
        return isinstance(self.balance_from, ProbeChoice)

    def require_level(self, n_levels: int) -> None:
        """Check that the level of `balance_from` exists.

        Raises:
            PoolSpecError: if the tree has fewer levels.
        """
        if (self.named_level or 1) > n_levels:
            raise PoolSpecError(
                f"target '{self.name}' has balance_from: {self.balance_from}, but the tree has "
                + (
                    "one level: choose level_1"
                    if n_levels == 1
                    else f"{n_levels} levels: choose level_1 to level_{n_levels}"
                )
                + ", or auto"
            )

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
                    f"only {n_admissible:,} tokens: choose from 1 to {n_admissible:,}, or set fraction"
                )
            return self.tokens
        size = self.size if self.size is not None else round((self.fraction or 0.0) * n_admissible)
        if size > n_admissible:
            raise PoolSpecError(
                f"targets.{self.name}.size is {size:,}, but the pool has only {n_admissible:,} admissible "
                f"samples: choose a size from 1 to {n_admissible:,}, or set fraction"
            )
        return max(size, 1)
