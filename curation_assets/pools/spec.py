"""PoolSpec: the YAML file of a pool, typed and range-checked; unknown keys are refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, NonNegativeInt, PositiveInt, ValidationInfo, field_validator, model_validator

from curation_assets.algorithms.settings import DEFAULT_MAX_SHARE, DEFAULT_MEMORY_BUDGET
from curation_assets.errors import PoolSpecError
from curation_assets.pools.atlas import AtlasSettings
from curation_assets.pools.base import Modality, Settings, require_different
from curation_assets.pools.cleaning import DecontaminationSettings, DeduplicationSettings
from curation_assets.pools.device import Device
from curation_assets.pools.encoder import TEXT_ENCODERS, EncoderSettings
from curation_assets.pools.engine import EngineSettings
from curation_assets.pools.in_dagster import DagsterSettings
from curation_assets.pools.levels import LevelSettings, PreprocessingSettings
from curation_assets.pools.memory import DeviceMemorySize, MemoryBudget
from curation_assets.pools.probe import ProbeSettings
from curation_assets.pools.source import EmbeddingsSource, SourceSettings
from curation_assets.pools.targets import OutputFormat, TargetSettings
from curation_assets.pools.upkeep import RefitSettings, WatchSettings

POOL_NAME_PATTERN = re.compile(r"[a-z][a-z0-9_]{0,39}")
_DEFAULT_OUTPUTS: Mapping[Modality, tuple[OutputFormat, ...]] = {
    "image": ("webdataset", "parquet", "ids"),
    "text": ("parquet", "ids"),
    "embedding": ("parquet", "ids"),
}


class PoolSpec(Settings):
    """Everything that defines the curation of one pool."""

    name: str = Field(
        description="Name of the pool, and of its folder below the storage root. By default the name of the file "
        "without `.yaml`. Lower-case letters, digits and underscores, at most 40.",
        examples=["web_images"],
    )
    description: str = Field(
        "",
        description="What the pool is, in a sentence; shown in the report and on the dataset card.",
        examples=["Web images of 2025"],
    )
    source: SourceSettings = Field(
        description="Where the samples lie, and in which format.", examples=[{"path": "data/raw/web"}]
    )
    encoder: EncoderSettings | None = Field(
        None,
        description="The model that embeds the samples. Required unless the source holds embeddings.",
        examples=[{"kind": "timm", "model": "vit_small_patch14_dinov2.lvd142m"}],
    )
    preprocessing: PreprocessingSettings = Field(
        PreprocessingSettings(),
        description="How embeddings are prepared for clustering.",
        examples=[{"metric": "cosine", "centring": True}],
    )
    deduplication: DeduplicationSettings | None = Field(
        None,
        description="Which copies and near copies are removed. `null` removes none; `{}` uses the defaults.",
        examples=[{"keep": "largest"}],
    )
    decontamination: DecontaminationSettings | None = Field(
        None,
        description="Evaluation sets whose samples must stay out of the dataset.",
        examples=[
            {"evaluation_sets": [{"name": "trivia", "source": {"format": "jsonl", "path": "data/trivia"}}]}
        ],
    )
    levels: tuple[LevelSettings, ...] = Field(
        (LevelSettings(),) * 4,
        min_length=1,
        description="The levels of the hierarchy, level 1 first.",
        examples=[[{"n_clusters": 2000}, {"n_clusters": 500}, {"n_clusters": 120}]],
    )
    max_share: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        DEFAULT_MAX_SHARE,
        description="A level has collapsed if its largest cluster holds more than this share of the pool (with fewer "
        "than five clusters, more than 1.5 times an equal share). It is then marked, and `balance_from: auto` does not "
        "draw from it. Changes no fit.",
        examples=[0.2],
    )
    fit_rows: PositiveInt | None = Field(
        None,
        description="Fit level 1 on a seeded sample of this many rows, then assign all rows. `null` fits on all rows.",
        examples=[2_000_000],
    )
    targets: tuple[TargetSettings, ...] = Field(
        min_length=1, description="The subsets to draw.", examples=[[{"name": "small", "fraction": 0.1}]]
    )
    tokenizer: str | None = Field(
        None,
        description="What counts the tokens of texts: a Hugging Face tokenizer (name, folder or installed package), "
        "`words` or `utf8_bytes`. `null` uses the encoder's tokenizer.",
        examples=["words"],
    )
    outputs: tuple[OutputFormat, ...] | None = Field(
        None,
        min_length=1,
        description="Forms in which each target is written. `null` writes webdataset, parquet and ids for images, "
        "parquet and ids for texts and embeddings.",
        examples=[["parquet", "ids", "weights"]],
    )
    atlas: AtlasSettings | None = Field(
        AtlasSettings(),
        description="Table for Embedding Atlas. `null` leaves it out.",
        examples=[{"max_rows": 20_000}],
    )
    probe: ProbeSettings | None = Field(
        ProbeSettings(),
        description="Probes trained on candidate subsets of each target's size. `null` leaves them out.",
        examples=[{"n_seeds": 5}],
    )
    refit: RefitSettings = Field(
        RefitSettings(),
        description="When new rows lead to a new tree. `never` keeps the present one.",
        examples=[{"new_rows": 0.5}],
    )
    watch: WatchSettings = Field(
        WatchSettings(),
        description="How the sensor of the pool takes in new files.",
        examples=[{"interval_seconds": 300}],
    )
    dagster: DagsterSettings = Field(
        DagsterSettings(),
        description="How the pool appears in Dagster. Changes no result.",
        examples=[{"owners": ["team:data"]}],
    )
    seed: NonNegativeInt = Field(
        0, description="Seed of all random choices. The same seed gives the same dataset.", examples=[1]
    )
    fit_device: Device = Field(
        "auto",
        description="Device of the fits: `auto`, `cpu`, `cuda` or `cuda:N`. `auto` uses CUDA if torch sees it.",
        examples=["cpu"],
    )
    memory_budget: MemoryBudget = Field(
        DEFAULT_MEMORY_BUDGET,
        description="Peak memory that the process of a step may use: bytes, or text such as `2 GB` or `1.5 GiB`. At "
        "least 1.2 GB. Changes no result.",
        examples=["8 GB"],
    )
    device_memory: DeviceMemorySize = "auto"
    engine: EngineSettings = Field(
        EngineSettings(),
        description="Where the heavy steps run. Changes no result.",
        examples=[{"kind": "ray", "address": "auto"}],
    )

    @field_validator("name")
    @classmethod
    def _name_is_an_identifier(cls, value: str) -> str:
        if not POOL_NAME_PATTERN.fullmatch(value):
            raise ValueError(
                "a pool's name starts with a lower-case letter, has only lower-case letters, digits and underscores, "
                "and is at most 40 characters long: rename the file, or set name"
            )
        return value

    @field_validator("outputs")
    @classmethod
    def _outputs_differ(cls, value: tuple[OutputFormat, ...] | None) -> tuple[OutputFormat, ...] | None:
        require_different(value or ())
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

    @field_validator("targets")
    @classmethod
    def _start_levels_exist(
        cls, value: tuple[TargetSettings, ...], info: ValidationInfo
    ) -> tuple[TargetSettings, ...]:
        if levels := info.data.get("levels"):
            for target in value:
                target.require_level(len(levels))
        return value

    @field_validator("levels")
    @classmethod
    def _levels_shrink(cls, value: tuple[LevelSettings, ...]) -> tuple[LevelSettings, ...]:
        sizes = [level.n_clusters for level in value]
        if any(size == "auto" for size in sizes) and any(size != "auto" for size in sizes):
            raise ValueError(
                f"n_clusters must be auto at every level or a number at every level, got {sizes}"
            )
        for t in range(1, len(sizes)):
            below, here = sizes[t - 1], sizes[t]
            if below != "auto" and here != "auto" and here >= below:
                raise ValueError(
                    f"level {t + 1} has n_clusters={here}, but must have fewer than level {t}'s {below}: choose "
                    f"from 1 to {below - 1}"
                )
            if value[t].n_coarse_clusters is not None:
                raise ValueError(
                    f"only level 1 can be a split level: remove n_coarse_clusters from level {t + 1}"
                )
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
                "outputs contains 'webdataset', but a source of embeddings has no files to write: remove it"
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

    @model_validator(mode="after")
    def _probe_has_its_label(self) -> PoolSpec:
        asked = self.probe.label_field if self.probe else None
        if asked is not None and asked not in self.source.label_fields:
            kept = ", ".join(self.source.label_fields) or "none"
            raise ValueError(
                f"probe.label_field is '{asked}', but source.label_fields keeps {kept}: add it there, or name a table "
                f"with probe.labels"
            )
        return self

    @model_validator(mode="after")
    def _probe_can_choose(self) -> PoolSpec:
        asking = [target.name for target in self.targets if target.asks_probe]
        chooses = self.probe is not None and (self.probe_label is not None or self.probe.figure is not None)
        if not asking or chooses:
            return self
        rule = f"target '{asking[0]}' has balance_from: {{by: probe}}, but"
        other = "or let balance_from be auto or a level"
        if self.probe is None:
            raise ValueError(f"{rule} probe is null: remove that key, {other}")
        if self.probe.command is not None:
            raise ValueError(
                f"{rule} the pool has no labels and probe.figure is not set: name the figure of probe.command to "
                f"choose by, {other}"
            )
        raise ValueError(
            f"{rule} the pool has no labels and no probe.command: name labels with source.label_fields or "
            f"probe.labels, add a command and its figure, {other}"
        )

    @property
    def n_levels(self) -> int:
        """Number of levels of the hierarchy."""
        return len(self.levels)

    @property
    def plans_levels(self) -> bool:
        """Whether the clusters of the levels are planned from the rows and the targets."""
        return self.levels[0].n_clusters == "auto"

    @property
    def modality(self) -> Modality:
        """What the samples of the pool are."""
        return self.source.modality

    @property
    def output_formats(self) -> tuple[OutputFormat, ...]:
        """Forms in which each target is written."""
        return _DEFAULT_OUTPUTS[self.modality] if self.outputs is None else self.outputs

    @property
    def is_cleaned(self) -> bool:
        """Whether samples are removed before the tree, which is then fitted on the admitted ones."""
        return self.deduplication is not None or self.decontamination is not None

    @property
    def counts_tokens(self) -> bool:
        """Whether the tokens of the samples are counted."""
        return self.tokenizer is not None or any(target.tokens is not None for target in self.targets)

    @property
    def probe_label(self) -> str | None:
        """The label that probes learn: of the table of labels if there is one, else of the source; None for none."""
        if self.probe is None:
            return None
        if self.probe.labels is not None:
            return self.probe.labels.label_field
        return self.probe.label_field or next(iter(self.source.label_fields), None)

    @property
    def is_probed(self) -> bool:
        """Whether candidate subsets are probed: with labels, or by a command."""
        return self.probe is not None and (self.probe_label is not None or self.probe.command is not None)

    @property
    def encoder_name(self) -> str:
        """Kind and model of the encoder, as shown to users."""
        if self.encoder is not None:
            return f"{self.encoder.kind}: {self.encoder.model}"
        return self.source.encoder if isinstance(self.source, EmbeddingsSource) else ""

    def n_rows_of_fit(self, n_rows: int) -> int:
        """Rows that level 1 is fitted on, out of `n_rows`."""
        return n_rows if self.fit_rows is None else min(self.fit_rows, n_rows)

    def require_feasible(self, n_samples: int) -> None:
        """Check the settings that depend on the size of the pool.

        Raises:
            PoolSpecError: if level 1 has more clusters than the pool has samples, or a target is too large.
        """
        n_clusters = self.levels[0].n_clusters
        if n_clusters != "auto" and n_clusters > n_samples:
            raise PoolSpecError(
                f"pool '{self.name}': levels[0].n_clusters is {n_clusters:,}, but the pool has only "
                f"{n_samples:,} samples: choose from 1 to {n_samples:,}, set n_clusters to auto at every level, or add "
                f"files first"
            )
        for target in self.targets:
            if target.tokens is None:
                target.resolve(n_samples)

    def require_tokens(self, n_tokens: int) -> None:
        """Check the targets in tokens.

        Raises:
            PoolSpecError: if a target has more tokens than the samples.
        """
        for target in self.targets:
            if target.tokens is not None:
                target.resolve(n_tokens)
