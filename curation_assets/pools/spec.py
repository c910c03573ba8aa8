"""PoolSpec: a pool's YAML file, typed, range-checked and with unknown keys refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import Field, NonNegativeInt, PositiveInt, field_validator, model_validator

from curation_assets.errors import PoolSpecError
from curation_assets.pools.base import Modality, Settings
from curation_assets.pools.cleaning import DecontaminationSettings, DeduplicationSettings
from curation_assets.pools.encoder import TEXT_ENCODERS, EncoderSettings
from curation_assets.pools.engine import EngineSettings
from curation_assets.pools.levels import LevelSettings, PreprocessingSettings
from curation_assets.pools.memory import DEFAULT_MEMORY_BUDGET, MemoryBudget
from curation_assets.pools.source import EmbeddingsSource, SourceSettings
from curation_assets.pools.targets import OutputFormat, TargetSettings
from curation_assets.pools.upkeep import RefitSettings, WatchSettings

POOL_NAME_PATTERN = re.compile(r"[a-z][a-z0-9_]{0,39}")
_DEFAULT_OUTPUTS: Mapping[Modality, tuple[OutputFormat, ...]] = {
    "image": ("webdataset", "parquet", "ids"),
    "text": ("parquet", "ids"),
    "embedding": ("parquet", "ids"),
}


class AtlasSettings(Settings):
    """The export for visual exploration, in the columns of Apple's Embedding Atlas."""

    max_rows: PositiveInt = Field(10_000, description="Rows shown; of a larger pool a seeded sample.")
    n_neighbours: PositiveInt = Field(10, description="Nearest neighbours of each row, among those shown.")
    thumbnail_pixels: PositiveInt = Field(96, description="Longer side of an image's thumbnail.")


class PoolSpec(Settings):
    """Everything that defines the curation of one pool."""

    name: str
    description: str = ""
    source: SourceSettings
    encoder: EncoderSettings | None = Field(None, description="None only for a source of embeddings.")
    preprocessing: PreprocessingSettings = PreprocessingSettings()
    deduplication: DeduplicationSettings | None = None
    decontamination: DecontaminationSettings | None = None
    levels: tuple[LevelSettings, ...] = Field((LevelSettings(),) * 4, min_length=1)
    fit_rows: PositiveInt | None = Field(
        None,
        description="Level 1 is fitted on a seeded sample of so many rows, and all rows are assigned to it; null "
        "fits it on all. Decides the tree.",
    )
    targets: tuple[TargetSettings, ...] = Field(min_length=1)
    tokenizer: str | None = Field(
        None,
        description="Counts the tokens of texts: name or folder of a Hugging Face tokenizer, a package that "
        "carries one, or 'words' or 'utf8_bytes'; null takes the encoder's own.",
    )
    outputs: tuple[OutputFormat, ...] | None = Field(
        None, description="Forms in which each target comes out; null goes by the modality.", min_length=1
    )
    atlas: AtlasSettings | None = AtlasSettings()
    refit: RefitSettings = RefitSettings()
    watch: WatchSettings = WatchSettings()
    seed: NonNegativeInt = 0
    fit_device: str = Field("auto", description="Where clusters are fitted: 'auto', 'cpu' or 'cuda'.")
    memory_budget: MemoryBudget = Field(
        DEFAULT_MEMORY_BUDGET,
        description="Bytes (or text: '2 GB', '1.5 GiB') that the process of a step may take at its peak. Changes no "
        "result.",
    )

    engine: EngineSettings = Field(
        EngineSettings(),
        description="Where heavy steps run; CURATION_ENGINE overrides it. Changes no result.",
    )

    @field_validator("name")
    @classmethod
    def _name_is_an_identifier(cls, value: str) -> str:
        if not POOL_NAME_PATTERN.fullmatch(value):
            raise ValueError(
                f"a pool's name has lower-case letters, digits and underscores, starts with a letter and is "
                f"at most 40 long, got '{value}'"
            )
        return value

    @field_validator("refit", mode="before")
    @classmethod
    def _never_is_a_policy(cls, value: Any) -> Any:
        return {"new_rows": None, "drift_score": None} if value == "never" else value

    @field_validator("targets")
    @classmethod
    def _target_names_differ(cls, value: tuple[TargetSettings, ...]) -> tuple[TargetSettings, ...]:
        names = [target.name for target in value]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two targets share the name '{twice[0]}': give each its own")
        return value

    @field_validator("levels")
    @classmethod
    def _levels_shrink(cls, value: tuple[LevelSettings, ...]) -> tuple[LevelSettings, ...]:
        sizes = [level.n_clusters for level in value]
        if any(size == "auto" for size in sizes) and any(size != "auto" for size in sizes):
            raise ValueError(
                f"n_clusters is either auto at every level or a number at every level, got {sizes}"
            )
        for t in range(1, len(sizes)):
            below, here = sizes[t - 1], sizes[t]
            if below != "auto" and here != "auto" and here >= below:
                raise ValueError(
                    f"level {t + 1} has n_clusters={here}, but must have fewer than level {t}'s {below}: choose "
                    f"from 1 to {below - 1}"
                )
            if value[t].n_coarse_clusters is not None:
                raise ValueError(f"only level 1 may be a split level, level {t + 1} sets n_coarse_clusters")
        return value

    @model_validator(mode="after")
    def _source_and_encoder_agree(self) -> PoolSpec:
        if isinstance(self.source, EmbeddingsSource):
            if self.encoder is not None:
                raise ValueError("a source of embeddings needs no encoder: remove the key `encoder`")
            return self
        if self.encoder is None:
            raise ValueError(
                f"encoder is missing: a source of {self.modality}s needs one, e.g. "
                f"{{kind: {'sentence_transformers' if self.modality == 'text' else 'open_clip'}, model: ...}}"
            )
        reads_text = isinstance(self.encoder, TEXT_ENCODERS)
        if reads_text != (self.modality == "text"):
            reads = "text" if reads_text else "images"
            raise ValueError(
                f"encoder.kind '{self.encoder.kind}' reads {reads}, but source.modality is '{self.modality}': "
                f"change one of them"
            )
        return self

    @model_validator(mode="after")
    def _sample_is_large_enough(self) -> PoolSpec:
        n_clusters = self.levels[0].n_clusters
        if self.fit_rows is not None and n_clusters != "auto" and self.fit_rows < n_clusters:
            raise ValueError(
                f"fit_rows is {self.fit_rows}, but level 1 has n_clusters={n_clusters}: fit on at least as many rows, "
                f"better on 20 times as many, or set fit_rows to null"
            )
        return self

    @model_validator(mode="after")
    def _outputs_exist(self) -> PoolSpec:
        if self.modality == "embedding" and "webdataset" in self.output_formats:
            raise ValueError(
                "outputs has 'webdataset', but a source of embeddings holds no samples: remove it"
            )
        return self

    @model_validator(mode="after")
    def _evaluation_sets_fit(self) -> PoolSpec:
        for entry in self.decontamination.evaluation_sets if self.decontamination else ():
            if entry.source.modality not in (self.modality, "embedding"):
                has = "embeddings only" if self.modality == "embedding" else f"{self.modality}s"
                raise ValueError(
                    f"evaluation set '{entry.name}' holds {entry.source.modality}s, but the pool {has}: give it a "
                    f"source of {has}" + ("" if self.modality == "embedding" else " or of embeddings")
                )
        return self

    @model_validator(mode="after")
    def _tokens_can_be_counted(self) -> PoolSpec:
        counted = [target.name for target in self.targets if target.tokens is not None]
        if self.tokenizer is not None and self.modality != "text":
            raise ValueError(
                f"tokenizer is set, but source.modality is '{self.modality}': only text has tokens"
            )
        if not counted or self.modality == "text":
            return self
        if not isinstance(self.source, EmbeddingsSource) or self.source.token_count_field is None:
            raise ValueError(
                f"target '{counted[0]}' is in tokens, but source.modality is '{self.modality}': set size or "
                f"fraction (or source.token_count_field of embeddings)"
            )
        return self

    @property
    def n_levels(self) -> int:
        """Levels of the hierarchy."""
        return len(self.levels)

    @property
    def modality(self) -> Modality:
        """What the pool's samples are."""
        return self.source.modality

    @property
    def output_formats(self) -> tuple[OutputFormat, ...]:
        """Forms in which each target comes out."""
        return _DEFAULT_OUTPUTS[self.modality] if self.outputs is None else self.outputs

    @property
    def is_cleaned(self) -> bool:
        """Whether some samples are kept out of the tree, so that it rests on the admitted ones."""
        return self.deduplication is not None or self.decontamination is not None

    @property
    def counts_tokens(self) -> bool:
        """Whether the tokens of every sample are needed."""
        return self.tokenizer is not None or any(target.tokens is not None for target in self.targets)

    @property
    def encoder_name(self) -> str:
        """Kind and model of the encoder, for people."""
        if self.encoder is not None:
            return f"{self.encoder.kind}: {self.encoder.model}"
        return self.source.encoder if isinstance(self.source, EmbeddingsSource) else ""

    def n_rows_of_fit(self, n_rows: int) -> int:
        """Rows that level 1 is fitted on, of so many that there are."""
        return n_rows if self.fit_rows is None else min(self.fit_rows, n_rows)

    def require_feasible(self, n_samples: int) -> None:
        """Check the settings that only the pool's size decides.

        Raises:
            PoolSpecError: if level 1 has more clusters than the pool has samples, or a target is too large.
        """
        n_clusters = self.levels[0].n_clusters
        if n_clusters != "auto" and n_clusters > n_samples:
            raise PoolSpecError(
                f"pool '{self.name}': levels[0].n_clusters is {n_clusters:,}, but the pool has only "
                f"{n_samples:,} samples: choose from 1 to {n_samples:,}"
            )
        for target in self.targets:
            if target.tokens is None:
                target.resolve(n_samples)
