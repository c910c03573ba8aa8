"""What keeps samples out of the tree: duplicates, and copies of evaluation sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, PositiveInt, field_validator

from curation_assets.pools.base import Auto, Modality, Settings, Similarity
from curation_assets.pools.source import SourceSettings

KeepRule = Literal["closest", "largest", "first"]
# Measured in docs/decontamination.md. Pixels find resized copies of images, whose cosine can be as low as 0.72. A
# threshold that low would also remove most distinct drawings.
DECONTAMINATION_THRESHOLDS: Mapping[Modality, float] = {"image": 0.98, "text": 0.97, "embedding": 0.95}
"""Lowest cosine of a contaminated sample, by the modality of the evaluation set."""
DECONTAMINATION_PIXEL_DISTANCE = 8.0
"""Largest root mean square difference (0 to 255) between pixel signatures of the same image."""
DUPLICATE_THRESHOLDS: Mapping[Modality, float] = {"image": 0.90, "text": 0.82, "embedding": 0.95}
"""Lowest cosine of near duplicates with `threshold: auto`; docs/deduplication.md has the measurements."""
CENTRED_DUPLICATE_THRESHOLDS: Mapping[Modality, float] = {"image": 0.83, "text": 0.80, "embedding": 0.95}
"""The same for centred embeddings, whose cosines are lower."""


class DeduplicationSettings(Settings):
    """Which samples count as duplicates, and which one of a group stays."""

    exact: bool = Field(
        True,
        description="Remove samples with equal bytes, and texts that are equal after normalisation.",
        examples=[False],
    )
    semantic: bool = Field(
        True,
        description="Remove samples whose embeddings have a cosine of `threshold` or more.",
        examples=[False],
    )
    threshold: Similarity | Auto = Field(
        "auto",
        description="Lowest cosine of two duplicates. `auto` depends on the modality and on `centring`.",
        examples=[0.95],
    )
    keep: KeepRule = Field(
        "closest",
        description="Which sample of a group stays: the one closest to its coarse centroid, the largest (bytes of "
        "an image, characters of a text), or the first by shard and row.",
        examples=["largest"],
    )
    n_clusters: PositiveInt | Auto = Field(
        "auto",
        description="Coarse clusters that near duplicates are searched in. `auto` makes clusters of about 1,000 rows, "
        "and at most as many as the square root of the rows.",
        examples=[500],
    )
    max_removed_share: Annotated[float, Field(ge=0.0, le=1.0)] = Field(
        0.75,
        description="Warn if more than this share of a shard, or of the samples with a label, is removed. Labels of "
        "less than 1 % of the pool do not count. Changes no result.",
        examples=[0.9],
    )

    def resolve_threshold(self, modality: Modality, *, centring: bool) -> float:
        """The lowest cosine of two duplicates in a pool of a modality, whose embeddings may be centred."""
        if self.threshold != "auto":
            return self.threshold
        return (CENTRED_DUPLICATE_THRESHOLDS if centring else DUPLICATE_THRESHOLDS)[modality]


class EvaluationSet(Settings):
    """One set of samples that must stay out of the dataset."""

    name: str = Field(
        pattern=r"^[a-z][a-z0-9_]{0,39}$",
        description="Name of the set in evidence tables: lower-case letters, digits and underscores, at most 40.",
        examples=["imagenet_val"],
    )
    source: SourceSettings = Field(
        description="Where the set lies; any source that a pool can have.",
        examples=[{"format": "folder", "modality": "image", "path": "data/imagenet/val"}],
    )


class DecontaminationSettings(Settings):
    """Evaluation sets, and how close a sample may come to them."""

    evaluation_sets: tuple[EvaluationSet, ...] = Field(
        min_length=1,
        description="The sets, each with a name of its own.",
        examples=[[{"name": "trivia", "source": {"format": "jsonl", "path": "data/trivia"}}]],
    )
    threshold: Similarity | Auto = Field(
        "auto",
        description="Lowest cosine of a contaminated sample. `auto` depends on the modality of the set.",
        examples=[0.97],
    )

    def threshold_for(self, entry: EvaluationSet) -> float:
        """The lowest cosine to a sample of the set that counts as contaminated."""
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
