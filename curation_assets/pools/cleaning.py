"""What keeps samples out of the tree: duplicates, and copies of evaluation sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, PositiveInt, field_validator

from curation_assets.pools.base import Auto, Modality, Settings, Similarity
from curation_assets.pools.source import SourceSettings

KeepRule = Literal["closest", "largest", "first"]
# Measured in docs/decontamination.md. Resized copies of images are found by their pixels, so the cosine of
# images need not go as low as theirs does (0.72), where most distinct drawings would be lost with them.
DECONTAMINATION_THRESHOLDS: Mapping[Modality, float] = {"image": 0.98, "text": 0.97, "embedding": 0.95}
"""Cosine from which on a sample counts as contaminated, by the modality of the evaluation set."""
DECONTAMINATION_PIXEL_DISTANCE = 8.0
"""Root mean square difference of two pixel signatures, of 255, up to which images count as the same."""
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

    def threshold_for(self, entry: EvaluationSet) -> float:
        """Cosine from which on a sample is too close to one of the set."""
        if self.threshold != "auto":
            return self.threshold
        return DECONTAMINATION_THRESHOLDS[entry.source.modality]

    @field_validator("evaluation_sets")
    @classmethod
    def _names_differ(cls, value: tuple[EvaluationSet, ...]) -> tuple[EvaluationSet, ...]:
        names = [entry.name for entry in value]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two evaluation sets share the name '{twice[0]}': give each its own")
        return value
