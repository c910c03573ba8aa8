"""The files that a pool reads, as external assets: nobody materializes them, and the sensor observes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

from curation_assets.defs.keys import asset_key
from curation_assets.defs.standard_metadata import uri_of
from curation_assets.formats.base import SourceFile
from curation_assets.graph.base import Lane
from curation_assets.pools import PoolSpec, SourceSettings
from curation_assets.project import Home
from curation_assets.storage.evaluation import listed_sets
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.tables import EvaluationSets, RawPool

SOURCE_FILES = "source_files"


@dataclass(frozen=True, slots=True)
class SeenFiles:
    """What a listing found."""

    n_files: int
    size_bytes: int
    digest: str
    """Changes with the name, size or version of any file."""


def build_sources(spec: PoolSpec, home: Home) -> list[dg.AssetSpec]:
    """The files of the pool, and those of each evaluation set; none unless `dagster.source_assets` is set."""
    return [
        dg.AssetSpec(
            asset_key(spec, name),
            description=description,
            group_name=spec.dagster.group_of(spec.name, Lane.INGEST),
            kinds={source.format},
            owners=spec.dagster.owners,
            tags=spec.dagster.tags,
            metadata={"dagster/uri": uri_of(source.path, home.folder)},
        )
        for name, (source, description) in _sources(spec).items()
    ]


def sources_of(spec: PoolSpec, step: str) -> list[dg.AssetKey]:
    """Keys of the files that a step reads; none unless `dagster.source_assets` is set."""
    names = list(_sources(spec))
    mine = {RawPool.asset: names[:1], EvaluationSets.asset: names[1:]}
    return [asset_key(spec, name) for name in mine.get(step, [])]


def _sources(spec: PoolSpec) -> dict[str, tuple[SourceSettings, str]]:
    """Name of each asset -> settings and description of its files, the pool's first."""
    if not spec.dagster.source_assets:
        return {}
    sets = spec.decontamination.evaluation_sets if spec.decontamination else ()
    return {
        SOURCE_FILES: (spec.source, "The files of the pool. The sensor observes them when they change."),
        **{
            _of_set(entry.name): (
                entry.source,
                f"The files of the evaluation set '{entry.name}'. The sensor observes them when they change.",
            )
            for entry in sets
        },
    }


def _of_set(name: str) -> str:
    return f"evaluation_files_{name}"


def seen_files(files: Sequence[SourceFile], digest: str, storage: PoolStorage) -> dict[str, SeenFiles]:
    """What a look found: of the pool's complete files, and of each evaluation set as it is recorded.

    Args:
        files: of the pool.
        digest: of them.
        storage: of the pool.
    """
    sets = {_of_set(name): SeenFiles(**entry) for name, entry in listed_sets(storage.folder).items()}
    return {SOURCE_FILES: SeenFiles(len(files), sum(file.size_bytes for file in files), digest), **sets}


def observations(
    spec: PoolSpec, seen: Mapping[str, SeenFiles], observed: Mapping[str, str]
) -> list[dg.AssetObservation]:
    """An observation of each source whose files have changed.

    All have the same data version: with another, Dagster would mark every shard as out of date when one file arrives.

    Args:
        spec: settings of the pool.
        seen: what the last look found.
        observed: digests of the files as they were last observed.
    """
    return [
        dg.AssetObservation(
            asset_key(spec, name),
            metadata={
                "files": seen[name].n_files,
                "bytes": seen[name].size_bytes,
                "digest": seen[name].digest,
            },
            tags={"dagster/data_version": "files"},
        )
        for name in _sources(spec)
        if name in seen and observed.get(name) != seen[name].digest
    ]
