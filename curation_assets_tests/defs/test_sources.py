"""The files of a pool as external assets: only if asked for, observed by the sensor when they change."""

from __future__ import annotations

import os
from pathlib import Path

import dagster as dg

from curation_assets.defs.jobs import build_jobs
from curation_assets.defs.pool_definitions import build_definitions
from curation_assets.defs.sensors import build_sensor
from curation_assets.pools import PoolSpec
from curation_assets.pools.in_dagster import DagsterSettings
from curation_assets.project import Home
from curation_assets_tests.projects import Project, copy_project, spec_of

TRIVIA = {"name": "trivia", "source": {"path": "data/trivia", "format": "webdataset"}}
SHOWN = {"source_assets": True, "owners": ["team:data"]}


def assets_of(spec: PoolSpec, folder: Path) -> dict[str, dg.AssetSpec]:
    definitions = build_definitions([spec], Home(folder, "memory://curated", folder))
    return {found.key.path[-1]: found for found in definitions.resolve_all_asset_specs()}


def test_sources_are_external_assets_above_what_reads_them(tmp_path: Path) -> None:
    spec = spec_of(dagster=SHOWN, decontamination={"evaluation_sets": [TRIVIA]})
    found = assets_of(spec, tmp_path)
    files, trivia = found["source_files"], found["evaluation_files_trivia"]
    assert [dep.asset_key for dep in found["raw_pool"].deps] == [files.key]
    assert [dep.asset_key for dep in found["evaluation_sets"].deps] == [trivia.key]
    assert files.metadata["dagster/uri"] == (tmp_path / "data" / "raw" / "emoji").as_uri()
    assert (files.group_name, list(files.owners), files.kinds) == (
        "p_1_ingest",
        ["team:data"],
        {"webdataset"},
    )


def test_without_the_setting_a_pool_has_the_assets_that_it_had(tmp_path: Path) -> None:
    plain = assets_of(spec_of(decontamination={"evaluation_sets": [TRIVIA]}), tmp_path)
    assert not {"source_files", "evaluation_files_trivia"} & plain.keys()
    assert not list(plain["raw_pool"].deps)


def test_the_sensor_observes_files_once_for_each_change(finished: Project, tmp_path: Path) -> None:
    project = copy_project(finished, tmp_path / "project")
    spec = project.spec.model_copy(update={"dagster": DagsterSettings(source_assets=True)})
    sensor = build_sensor(spec, project.home, build_jobs(spec, project.home, build_definitions))
    key = dg.AssetKey(["emoji", "source_files"])
    with project.instance() as instance:
        context = dg.build_sensor_context(instance=instance)
        first = sensor(context)
        assert isinstance(first, dg.SensorResult)
        assert isinstance(first.skip_reason, dg.SkipReason)
        assert first.skip_reason.skip_message == "up to date"
        [event] = first.asset_events
        assert isinstance(event, dg.AssetObservation)
        assert event.asset_key == key
        assert event.metadata["files"].value == 3
        assert event.metadata["bytes"].value == sum(
            path.stat().st_size for path in (project.folder / "data" / "raw" / "emoji").glob("*.tar")
        )
        context = dg.build_sensor_context(instance=instance, cursor=context.cursor)
        assert isinstance(sensor(context), dg.SkipReason), "the files are as they were"
        os.utime(project.folder / "data" / "raw" / "emoji" / "00000.tar", (1_000_000_000, 1_000_000_000))
        third = sensor(dg.build_sensor_context(instance=instance, cursor=context.cursor))
        assert isinstance(third, dg.SensorResult)
        assert third.run_requests
        assert [event.asset_key for event in third.asset_events] == [key]
