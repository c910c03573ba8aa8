"""Small projects of real images: a home folder with a pool of OpenMoji drawings, run by the command line."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import dagster as dg
import yaml

from curation_assets.cli.main import main
from curation_assets.cli.runner import open_runner
from curation_assets.defs.run.tags import PARENT_RUN_TAG
from curation_assets.demo.openmoji import write_openmoji_pool
from curation_assets.formats import build_reader
from curation_assets.formats.listed.versions import earlier
from curation_assets.graph.freshness import Forced
from curation_assets.graph.relations import descendants, fit_steps
from curation_assets.pools import PoolSpec, load_pool_spec
from curation_assets.project import Home
from curation_assets.storage.outputs import timestamp
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.shards import relisted

SMALL_POOL: dict[str, Any] = {
    "source": {"path": "data/raw/emoji", "label_fields": ["subgroup", "group"]},
    "encoder": {"kind": "bundled", "batch_size": 16},
    "preprocessing": {"centring": True},
    "levels": [
        {"n_clusters": 24, "resampling_steps": 3},
        {"n_clusters": 8, "resampling_steps": 2},
        {"n_clusters": 3, "resampling_steps": 0},
    ],
    "targets": [{"name": "small", "size": 20}, {"name": "typical", "fraction": 0.1, "strategy": "closest"}],
}


def spec_of(**changes: Any) -> PoolSpec:
    """The small pool, by the name p, with other settings."""
    return PoolSpec.model_validate({"name": "p", **SMALL_POOL, **changes})


@dataclass(frozen=True)
class Project:
    """A home folder with one pool."""

    folder: Path

    @property
    def home(self) -> Home:
        return Home(self.folder, str(self.folder / "data" / "curated"), self.folder / "data" / "dagster")

    @property
    def environment(self) -> dict[str, str]:
        """What the command line needs to work on this project and nothing else."""
        state = str(self.home.dagster_state)
        return {
            "CURATION_HOME": str(self.folder),
            "CURATION_STORAGE": self.home.storage_root,
            "CURATION_STATE": state,
            "DAGSTER_HOME": state,
            "OMP_NUM_THREADS": "1",
        }

    @property
    def storage(self) -> PoolStorage:
        return PoolStorage(self.home.storage_root, "emoji")

    @property
    def spec(self) -> PoolSpec:
        return load_pool_spec(self.folder / "pools" / "emoji.yaml")

    def write_pool(self, settings: dict[str, Any]) -> None:
        path = self.folder / "pools" / "emoji.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(settings, sort_keys=False))

    def settings(self) -> dict[str, Any]:
        """What the pool's YAML says."""
        return dict(yaml.safe_load((self.folder / "pools" / "emoji.yaml").read_text()))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """A command line as a process of its own, for tests that kill it."""
        return subprocess.Popen(
            [sys.executable, "-m", "curation_assets.cli.main", *arguments],
            env={**os.environ, **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str) -> tuple[int, str]:
        """Exit code and output of a command line, which runs in this process."""
        return run_command(self.environment, *arguments)

    def selection_bytes(self) -> bytes:
        return self.storage.output("selection").path("selected.parquet").read_bytes()

    def modified_times(self) -> dict[str, int]:
        """Modification time of every stored file, by path below the pool's folder."""
        root = Path(str(self.storage.folder))
        files = sorted(path for path in root.rglob("*") if path.is_file())
        return {str(path.relative_to(root)): path.stat().st_mtime_ns for path in files}

    def instance(self) -> dg.DagsterInstance:
        return dg.DagsterInstance.from_config(self.environment["DAGSTER_HOME"])


@contextmanager
def environment_of(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables; what the block changes in the environment is undone at its end."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def run_command(environment: Mapping[str, str], *arguments: str) -> tuple[int, str]:
    """Exit code and output, errors included, of `curation-assets` with these arguments, in this process."""
    output = io.StringIO()
    command = mock.patch.object(sys, "argv", ["curation-assets", *arguments])
    with environment_of(environment), command, redirect_stdout(output), redirect_stderr(output):
        try:
            main()
        except SystemExit as ended:
            return int(ended.code or 0), output.getvalue()
    raise AssertionError("click ends every command with SystemExit")


def make_project(folder: Path, *, n_images: int = 72, samples_per_shard: int = 24) -> Project:
    """A project with the small pool, rendered but not curated."""
    write_openmoji_pool(
        folder / "data" / "raw" / "emoji", samples_per_shard=samples_per_shard, limit=n_images
    )
    project = Project(folder)
    project.write_pool(SMALL_POOL)
    project.home.dagster_state.mkdir(parents=True)
    (project.home.dagster_state / "dagster.yaml").write_text(
        "telemetry:\n  enabled: false\nconcurrency:\n  pools:\n    granularity: op\n    default_limit: 1\n"
    )
    return project


def curate(project: Project, again: bool = False) -> None:
    """Bring the pool up to date, up to its selection, by runs of Dagster; with `again` all fits are made anew."""
    with environment_of(project.environment), open_runner("emoji") as runner:
        steps = runner.driver.steps
        wanted = {"selection"}
        for step in reversed(list(steps.values())):
            if step.name in wanted:
                wanted |= {*step.inputs, *step.after}
        runner.sync_shards()
        if again:
            anew = set(descendants(steps, fit_steps(steps)[0])).intersection(wanted)
            runner.driver.forced = Forced(frozenset(anew), timestamp())
        assert runner.bring_up_to_date(wanted)


def copy_project(project: Project, folder: Path) -> Project:
    """A copy, with its outputs. Copied files have other inodes, which are recorded as if they had always had them."""
    shutil.copytree(project.folder, folder, dirs_exist_ok=True)
    copy = Project(folder)
    for path in (folder / "pools").glob("*.yaml"):
        source, storage = load_pool_spec(path).source, PoolStorage(copy.home.storage_root, path.stem)
        if shards := storage.all_shards():
            known = [replace(shard, files=tuple(map(earlier, shard.files))) for shard in shards]
            files = build_reader(source, folder).list_files()
            storage.save_shards(relisted(files, source.files_per_shard, known).shards)
    return copy


def materialized(instance: dg.DagsterInstance, run_ids: list[str]) -> set[tuple[str, str | None]]:
    """(asset, partition) of every materialization of the runs and of their waves, from the event log."""
    found = set()
    waves = [instance.get_run_ids(dg.RunsFilter(tags={PARENT_RUN_TAG: run_id})) for run_id in run_ids]
    for run_id in {*run_ids, *(wave for ids in waves for wave in ids)}:
        for record in instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION):
            event = record.dagster_event
            assert event is not None
            assert event.asset_key is not None
            found.add((event.asset_key.path[-1], event.partition))
    return found
