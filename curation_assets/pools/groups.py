"""The groups of keys of a pool file, and the settings that each group takes."""

from __future__ import annotations

from collections.abc import Mapping

from curation_assets.pools.atlas import AtlasSettings
from curation_assets.pools.base import Settings
from curation_assets.pools.cleaning import DecontaminationSettings, DeduplicationSettings, EvaluationSet
from curation_assets.pools.encoder import ENCODERS
from curation_assets.pools.engine import EngineSettings
from curation_assets.pools.in_dagster import DagsterSettings
from curation_assets.pools.levels import LevelSettings, PreprocessingSettings
from curation_assets.pools.probe import LabelsTable, ProbeSettings
from curation_assets.pools.source import SOURCES
from curation_assets.pools.targets import ProbeChoice, TargetSettings
from curation_assets.pools.upkeep import RefitSettings, WatchSettings

GROUPS: Mapping[str, type[Settings]] = {
    "preprocessing": PreprocessingSettings,
    "deduplication": DeduplicationSettings,
    "decontamination": DecontaminationSettings,
    "evaluation_sets": EvaluationSet,
    "levels": LevelSettings,
    "targets": TargetSettings,
    "balance_from": ProbeChoice,
    "atlas": AtlasSettings,
    "probe": ProbeSettings,
    "labels": LabelsTable,
    "refit": RefitSettings,
    "watch": WatchSettings,
    "dagster": DagsterSettings,
    "engine": EngineSettings,
}
"""By key; a list of groups has the settings of one entry."""
CHOICES: Mapping[str, Mapping[str, type[Settings]]] = {"source": SOURCES, "encoder": ENCODERS}
"""Groups whose settings depend on their `format` or `kind`: by key, then by its value."""
