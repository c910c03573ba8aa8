"""PoolSpec: a pool's YAML, typed and checked. One module per group of keys."""

from curation_assets.pools.atlas import AtlasSettings
from curation_assets.pools.base import Auto, Modality
from curation_assets.pools.cleaning import DecontaminationSettings, DeduplicationSettings, EvaluationSet
from curation_assets.pools.encoder import (
    BundledEncoderSettings,
    EncoderSettings,
    OpenClipEncoderSettings,
    SentenceTransformersEncoderSettings,
    TimmEncoderSettings,
)
from curation_assets.pools.engine import EngineSettings, resolve_engine
from curation_assets.pools.folder import BrokenPool, PoolFolder, read_pools
from curation_assets.pools.in_dagster import DagsterSettings
from curation_assets.pools.levels import LevelSettings, PreprocessingSettings
from curation_assets.pools.loading import load_pool_spec
from curation_assets.pools.probe import LabelsTable, ProbeSettings
from curation_assets.pools.source import (
    EmbeddingsSource,
    FolderSource,
    JsonlSource,
    ParquetSource,
    SamplesSource,
    SourceSettings,
    WebDatasetSource,
)
from curation_assets.pools.spec import PoolSpec
from curation_assets.pools.targets import OutputFormat, TargetSettings
from curation_assets.pools.upkeep import RefitSettings, WatchSettings

__all__ = [
    "AtlasSettings",
    "Auto",
    "BrokenPool",
    "BundledEncoderSettings",
    "DagsterSettings",
    "DecontaminationSettings",
    "DeduplicationSettings",
    "EmbeddingsSource",
    "EncoderSettings",
    "EngineSettings",
    "EvaluationSet",
    "FolderSource",
    "JsonlSource",
    "LabelsTable",
    "LevelSettings",
    "Modality",
    "OpenClipEncoderSettings",
    "OutputFormat",
    "ParquetSource",
    "PoolFolder",
    "PoolSpec",
    "PreprocessingSettings",
    "ProbeSettings",
    "RefitSettings",
    "SamplesSource",
    "SentenceTransformersEncoderSettings",
    "SourceSettings",
    "TargetSettings",
    "TimmEncoderSettings",
    "WatchSettings",
    "WebDatasetSource",
    "load_pool_spec",
    "read_pools",
    "resolve_engine",
]
