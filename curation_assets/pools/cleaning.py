"""What keeps samples out of the tree: duplicates, and copies of evaluation sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, PositiveInt, field_validator

from curation_assets.pools.base import Auto, Modality, Settings, Similarity
from curation_assets.pools.source import SourceSettings

KeepRule = Literal["closest", "largest", "first"]
DUPLICATE_THRESHOLDS: Mapping[Modality, float] = {"image": 0.90, "text": 0.82, "embedding": 0.95}
"""Cosine of near duplicates where the pool says auto; measured with planted copies: docs/deduplication.md."""
CENTRED_DUPLICATE_THRESHOLDS: Mapping[Modality, float] = {"image": 0.83, "text": 0.80, "embedding": 0.95}
"""The same for embeddings less their mean: without what all of them share, cosines are lower."""


class DeduplicationSettings(Settings):
    """Which samples count as the same, and which of them stays."""

    exact: bool = Field(True, description="Equal bytes, and texts equal after normalisation.")
    semantic: bool = Field(True, description="A cosine of the embeddings above `threshold`.")
    threshold: Similarity | Auto = Field(
        "auto", description="Cosine from which on two samples count as the same; auto goes by the modality."
    )
    keep: KeepRule = Field(
        "closest",
        description="Which sample of a group stays: the one closest to its coarse centroid, the largest in "
        "bytes, or the first in the order of shards.",
    )
    n_clusters: PositiveInt | Auto = Field(
        "auto", description="Coarse clusters that near duplicates are looked for in; auto goes by the rows."
    )

    def resolve_threshold(self, modality: Modality, *, centring: bool) -> float:
        """The cosine from which on two samples count as the same.

        Args:
            modality: of the pool.
            centring: whether cosines are those of centred embeddings.
        """
        if self.threshold != "auto":
            return self.threshold
        return (CENTRED_DUPLICATE_THRESHOLDS if centring else DUPLICATE_THRESHOLDS)[modality]


class EvaluationSet(Settings):
    """Samples that must not be in the result."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")
    source: SourceSettings


class DecontaminationSettings(Settings):
    """Evaluation sets, and how close to one of their samples is too close."""

    evaluation_sets: tuple[EvaluationSet, ...] = Field(min_length=1)
    threshold: Similarity | Auto = Field(
        "auto", description="Cosine from which on a sample counts as contaminated; auto goes by the modality."
    )

    @field_validator("evaluation_sets")
    @classmethod
    def _names_differ(cls, value: tuple[EvaluationSet, ...]) -> tuple[EvaluationSet, ...]:
        names = [entry.name for entry in value]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two evaluation sets share the name '{twice[0]}': give each its own")
        return value
