"""The base class and the types that all groups of settings share."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Auto = Literal["auto"]
Modality = Literal["image", "text", "embedding"]
"""What a sample is. An 'embedding' sample has no bytes, only its vector and its metadata."""
Similarity = Annotated[float, Field(gt=0.0, le=1.0)]
"""A cosine similarity; two samples at or above it count as the same."""


class Settings(BaseModel):
    """Base of all settings: frozen, and unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)
