"""PoolSpec: a pool's YAML file, typed, range-checked and with unknown keys refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)

from curation_assets.errors import PoolSpecError

Auto = Literal["auto"]
Metric = Literal["cosine", "l2"]
SelectionStrategy = Literal["random", "closest"]
POOL_NAME_PATTERN = re.compile(r"[a-z][a-z0-9_]{0,39}")


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SourceSettings(_Settings):
    """Where the raw samples of the pool lie and how they are read."""

    format: Literal["webdataset"] = Field("webdataset", description="Layout of the pool's files.")
    path: str = Field(description="Folder or fsspec URI of the pool; a relative one counts from the project.")
    pattern: str = Field("*.tar", description="Glob of the pool's files below `path`.")
    files_per_shard: PositiveInt = Field(
        1,
        description="Files that make one shard (a Dagster partition); keep a pool at or below 1,000 shards.",
    )
    label_fields: tuple[str, ...] = Field(
        (), description="Keys of each sample's JSON kept as labels; the first is used for balance metrics."
    )
    max_image_pixels: PositiveInt = Field(
        89_478_485, description="Images with more pixels are rejected before they are decoded."
    )
    max_rejected_share: Annotated[float, Field(ge=0.0, le=1.0)] = Field(
        0.5, description="If more of the samples are rejected, no tree is fitted on the rest."
    )


class BundledEncoderSettings(_Settings):
    """An encoder whose weights come with an installed Python package (extra `demo`)."""

    kind: Literal["bundled"]
    model: Literal["efficientnet_lite0"] = "efficientnet_lite0"
    batch_size: PositiveInt = 64
    device: str = Field("auto", description="'auto' takes CUDA where torch sees it, else the CPU.")


class TimmEncoderSettings(_Settings):
    """Any timm model with pretrained weights, e.g. vit_large_patch14_dinov2.lvd142m."""

    kind: Literal["timm"]
    model: str
    checkpoint: str | None = Field(None, description="Local weights file instead of timm's own download.")
    pretrained: bool = Field(True, description="False gives random weights: only of use in tests.")
    batch_size: PositiveInt = 64
    device: str = "auto"


class OpenClipEncoderSettings(_Settings):
    """Any open_clip model with pretrained weights, e.g. ViT-L-14 with laion2b_s32b_b82k."""

    kind: Literal["open_clip"]
    model: str
    pretrained: str | None = Field(
        description="A pretrained tag of open_clip, or a local weights file; null gives random weights."
    )
    batch_size: PositiveInt = 64
    device: str = "auto"


EncoderSettings = Annotated[
    BundledEncoderSettings | TimmEncoderSettings | OpenClipEncoderSettings, Field(discriminator="kind")
]


class PreprocessingSettings(_Settings):
    """How embeddings become inputs of level 1."""

    metric: Metric = Field(
        "cosine", description="'cosine' normalises inputs and every level's centroids; 'l2' does neither."
    )
    centring: bool = Field(
        False, description="Subtract the pool's mean embedding before normalising: helps CNN features."
    )


class LevelSettings(_Settings):
    """One level of the hierarchy; `auto` values are planned from the pool's size when it is known."""

    n_clusters: PositiveInt | Auto = "auto"
    resampling_steps: NonNegativeInt | None = Field(
        None, description="Resampling steps; null means 10, or 0 for a split level."
    )
    samples_per_cluster: PositiveInt | Auto = Field(
        "auto",
        description="Inputs kept per cluster in a resampling step; auto is half the mean cluster size.",
    )
    strategy: SelectionStrategy = Field("closest", description="Which inputs a resampling step keeps.")
    n_coarse_clusters: PositiveInt | None = Field(
        None, description="Split level: fit this many clusters, then split each into n_clusters / this."
    )
    max_iterations: PositiveInt = 50
    tolerance: Annotated[float, Field(ge=0.0, lt=1.0)] = 1e-4

    @property
    def steps(self) -> int:
        """Resampling steps that will be run."""
        if self.resampling_steps is not None:
            return self.resampling_steps
        return 0 if self.n_coarse_clusters else 10

    @model_validator(mode="after")
    def _split_level_is_consistent(self) -> LevelSettings:
        if self.n_coarse_clusters is None:
            return self
        if self.n_clusters == "auto" or self.n_clusters % self.n_coarse_clusters:
            raise ValueError(
                f"a split level needs n_clusters as a multiple of n_coarse_clusters, got n_clusters="
                f"{self.n_clusters} and n_coarse_clusters={self.n_coarse_clusters}"
            )
        if self.resampling_steps:
            raise ValueError(
                f"a split level is not resampled: set resampling_steps to 0, got {self.resampling_steps}"
            )
        return self


class TargetSettings(_Settings):
    """One balanced subset to draw from the tree."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")
    size: PositiveInt | None = Field(None, description="Samples to select.")
    fraction: Annotated[float, Field(gt=0.0, le=1.0)] | None = Field(
        None, description="Share of the admissible samples to select, instead of `size`."
    )
    strategy: SelectionStrategy = Field("random", description="Which samples of a level-1 cluster are taken.")

    @model_validator(mode="after")
    def _one_of_size_and_fraction(self) -> TargetSettings:
        if (self.size is None) == (self.fraction is None):
            raise ValueError(
                f"target '{self.name}' needs exactly one of size and fraction, got size={self.size} and "
                f"fraction={self.fraction}"
            )
        return self

    def resolve(self, n_admissible: int) -> int:
        """Samples to select out of `n_admissible`.

        Raises:
            PoolSpecError: if the target is larger than the pool.
        """
        size = self.size if self.size is not None else round((self.fraction or 0.0) * n_admissible)
        if size > n_admissible:
            raise PoolSpecError(
                f"targets.{self.name}.size is {size:,}, but the pool has only {n_admissible:,} admissible "
                f"samples: choose a size from 1 to {n_admissible:,}"
            )
        return max(size, 1)


class RefitSettings(_Settings):
    """When rows that arrived lead to a new tree; until then they are assigned to the one there is.

    `refit: never` in the YAML stands for null in all three.
    """

    new_rows: Annotated[float, Field(gt=0.0)] | None = Field(
        0.2,
        description="Refit when rows that came or went since the fit exceed this share of the fitted rows.",
    )
    drift_score: Annotated[float, Field(gt=0.0, le=1.0)] | None = Field(
        0.5, description="Refit when a shard that came since the fit has a higher drift score than this."
    )
    schedule: str | None = Field(
        None, description="Cron expression, e.g. '0 3 * * 0': a Dagster schedule that refits at these times."
    )
    keep_trees: PositiveInt = Field(
        5, description="Versions of the tree that stay readable, with the current one."
    )

    @field_validator("schedule")
    @classmethod
    def _schedule_has_five_fields(cls, value: str | None) -> str | None:
        return _checked_cron(value)


class WatchSettings(_Settings):
    """How the pool's sensor takes in what arrives."""

    interval_seconds: PositiveInt = Field(30, description="Least time between two ticks of the sensor.")
    settle_seconds: NonNegativeFloat = Field(
        10.0, description="A file is taken once its size and time have not changed for this long."
    )
    unclosed_seconds: NonNegativeFloat = Field(
        3600.0,
        description="A tar without its closing blocks is waited for this long, then taken for what it holds.",
    )
    retry_seconds: NonNegativeFloat = Field(
        60.0, description="Wait after a first failure; each further one doubles it, up to a day."
    )
    shards_per_run: PositiveInt = Field(500, description="Most shards that one run of the sensor takes in.")
    nightly: str = Field(
        "0 2 * * *", description="Cron expression of the nightly schedule, which is off by default."
    )

    @field_validator("nightly")
    @classmethod
    def _nightly_has_five_fields(cls, value: str) -> str:
        return _checked_cron(value) or value


def _checked_cron(value: str | None) -> str | None:
    if value is not None and not re.fullmatch(r"(\S+\s+){4}\S+", value.strip()):
        raise ValueError(
            "a cron expression has five fields: minute, hour, day, month, weekday, e.g. '0 3 * * 0'"
        )
    return value


class PoolSpec(_Settings):
    """Everything that defines the curation of one pool."""

    name: str
    description: str = ""
    source: SourceSettings
    encoder: EncoderSettings
    preprocessing: PreprocessingSettings = PreprocessingSettings()
    levels: tuple[LevelSettings, ...] = Field((LevelSettings(),) * 4, min_length=1)
    targets: tuple[TargetSettings, ...] = Field(min_length=1)
    refit: RefitSettings = RefitSettings()
    watch: WatchSettings = WatchSettings()
    seed: NonNegativeInt = 0
    fit_device: str = Field("auto", description="Where clusters are fitted: 'auto', 'cpu' or 'cuda'.")

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

    @property
    def n_levels(self) -> int:
        """Levels of the hierarchy."""
        return len(self.levels)

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
            target.resolve(n_samples)


def load_pool_spec(path: Path) -> PoolSpec:
    """Read and check a pool's YAML file; the file's stem is the pool's name unless it sets one.

    Raises:
        PoolSpecError: naming the file, the key, its value and what would be valid.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PoolSpecError(f"{path}: no such pool file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise PoolSpecError(f"{path}: not readable as YAML: {error}") from error
    if not isinstance(document, dict):
        raise PoolSpecError(f"{path}: expected keys such as source, encoder and targets, got {document!r}")
    try:
        return PoolSpec.model_validate({"name": path.stem, **document})
    except ValidationError as error:
        raise PoolSpecError("\n".join(_explain(path, problem) for problem in error.errors())) from None


def load_pool_specs(folder: Path) -> dict[str, PoolSpec]:
    """Every pool of a folder (its `*.yaml` files, not those of its subfolders), by name.

    Raises:
        PoolSpecError: if a file is invalid or two pools share a name.
    """
    specs: dict[str, PoolSpec] = {}
    for path in sorted(folder.glob("*.yaml")):
        spec = load_pool_spec(path)
        if spec.name in specs:
            raise PoolSpecError(f"{path}: the pool name '{spec.name}' is taken by another file of {folder}")
        specs[spec.name] = spec
    return specs


def _explain(path: Path, problem: Any) -> str:
    tags = {"bundled", "timm", "open_clip"}
    parts = [part for part in problem["loc"] if part not in tags]
    key = (
        "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).lstrip(".")
        or "(file)"
    )
    if problem["type"] == "extra_forbidden":
        owner = _model_at(tuple(parts[:-1]), problem)
        return f"{path}: unknown key {key}{owner}"
    if problem["type"] == "missing":
        return f"{path}: {key} is missing"
    value = problem["input"]
    shown = "" if isinstance(value, dict | tuple | list) else f", got {value!r}"
    return f"{path}: {key}: {problem['msg'].removeprefix('Value error, ')}{shown}"


def _model_at(location: tuple[str | int, ...], problem: Any) -> str:
    """The keys that would be valid where an unknown one stands, as the tail of a message."""
    owners: dict[str, type[BaseModel]] = {
        "source": SourceSettings,
        "preprocessing": PreprocessingSettings,
        "levels": LevelSettings,
        "targets": TargetSettings,
        "refit": RefitSettings,
        "watch": WatchSettings,
    }
    encoders: dict[str, type[BaseModel]] = {
        "bundled": BundledEncoderSettings,
        "timm": TimmEncoderSettings,
        "open_clip": OpenClipEncoderSettings,
    }
    tag = next((part for part in problem["loc"] if part in encoders), None)
    model = encoders[tag] if tag else owners.get(str(location[0]), PoolSpec) if location else PoolSpec
    return f" (value {problem['input']!r}); valid keys are: {', '.join(model.model_fields)}"
