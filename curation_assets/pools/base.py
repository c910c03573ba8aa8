"""What every group of settings has in common."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Auto = Literal["auto"]
Metric = Literal["cosine", "l2"]
Modality = Literal["image", "text", "embedding"]
"""What a sample's bytes are; 'embedding' samples have none, only a row of numbers and its metadata."""
SelectionStrategy = Literal["random", "closest"]
Similarity = Annotated[float, Field(gt=0.0, le=1.0)]
"""A cosine from which on two samples count as the same."""


class Settings(BaseModel):
    """Typed once, frozen, and without room for unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)
