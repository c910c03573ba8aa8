"""A pool that grows: tars of real drawings, shuffled so that shards are alike, written when a test says so."""

from __future__ import annotations

import io
import os
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import numpy as np
from PIL import Image

from curation_assets.defs.pool_definitions import build_definitions
from curation_assets.defs.run.tags import PARENT_RUN_TAG
from curation_assets.defs.watch import Cursor, Look, Watcher
from curation_assets.demo.openmoji import write_openmoji_pool
from curation_assets.formats.webdataset import WebDatasetReader
from curation_assets.pools.source import WebDatasetSource
from curation_assets_tests.projects import SMALL_POOL, Project, materialized

GROWING_POOL = {
    **SMALL_POOL,
    "source": {"path": "data/raw/emoji", "label_fields": ["subgroup", "group"]},
    "levels": [
        {"n_clusters": 20, "resampling_steps": 2},
        {"n_clusters": 6, "resampling_steps": 2},
        {"n_clusters": 2, "resampling_steps": 0},
    ],
    "targets": [{"name": "small", "size": 40}],
    "refit": {"new_rows": 0.6},
}


@dataclass
class GrowingPool:
    """A project whose shards a test writes one by one, and its sensor's looks, with their runs carried out."""

    project: Project
    drawings: list[tuple[str, dict[str, bytes]]]
    shard_size: int
    instance: dg.DagsterInstance
    cursor: Cursor
    now: float

    @property
    def folder(self) -> Path:
        return self.project.folder / "data" / "raw" / "emoji"

    def tar(self, number: int) -> bytes:
        """Bytes of a tar with the number-th part of the drawings."""
        buffer = io.BytesIO()
        mine = self.drawings[number * self.shard_size : (number + 1) * self.shard_size]
        assert len(mine) == self.shard_size
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for name, parts in mine:
                for extension, content in parts.items():
                    member = tarfile.TarInfo(f"{name}.{extension}")
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
        return buffer.getvalue()

    def drop(self, name: str, content: bytes, *, age: float = 60.0) -> None:
        """Put a file into the pool, last changed `age` seconds before now."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{name}.tar"
        path.write_bytes(content)
        os.utime(path, (self.now - age, self.now - age))

    def look(self) -> Look:
        """One tick of the sensor."""
        self.cursor = Cursor.read(self.cursor.text())
        spec, home = self.project.spec, self.project.home
        return Watcher(spec, home, self.instance, self.cursor).look(self.now)

    def carry_out(self, look: Look) -> dg.ExecuteInProcessResult:
        """Run what a look asked for, as the daemon would."""
        request = look.request
        assert request is not None
        assert request.job_name is not None
        definitions = build_definitions([self.project.spec], self.project.home)
        return definitions.resolve_job_def(request.job_name).execute_in_process(
            instance=self.instance,
            tags=request.tags,
            raise_on_error=False,
            run_config={
                **request.run_config,
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            },
        )

    def waves(self, parent: str) -> list[dg.DagsterRun]:
        """The runs of the waves of a run, in order."""
        return self.instance.get_runs(dg.RunsFilter(tags={PARENT_RUN_TAG: parent}))[::-1]

    def follow(self, most: int = 12) -> tuple[list[Look], dict[str, set[str | None]]]:
        """Look and carry out until nothing is requested; the looks, and what was materialized by asset."""
        looks: list[Look] = []
        made: dict[str, set[str | None]] = {}
        for _ in range(most):
            look = self.look()
            looks.append(look)
            if look.request is None:
                return looks, made
            for asset, partition in materialized(self.instance, [self.carry_out(look).run_id]):
                made.setdefault(asset, set()).add(partition)
            self.now += 30
        raise AssertionError(f"still not at rest: {[look.summary for look in looks]}")


def make_growing_pool(
    folder: Path, instance: dg.DagsterInstance, n_parts: int, shard_size: int = 16
) -> GrowingPool:
    """A growing pool with nothing in it yet."""
    rendered = folder / "rendered"
    write_openmoji_pool(rendered, samples_per_shard=n_parts * shard_size, limit=n_parts * shard_size)
    from upath import UPath

    reader = WebDatasetReader(UPath(rendered), WebDatasetSource(path="."))
    samples = [
        (item.sample_id, dict(item.parts))  # type: ignore[union-attr]
        for file in reader.list_files()
        for item in reader.read(file.path)
    ]
    order = np.random.default_rng(0).permutation(len(samples))
    project = Project(folder)
    project.write_pool(GROWING_POOL)
    project.home.dagster_state.mkdir(parents=True)
    return GrowingPool(project, [samples[i] for i in order], shard_size, instance, Cursor(), time.time())


def tar_of_another_world(n: int = 16, brightest: int = 12) -> bytes:
    """A tar of noise, nearly black by default: nothing like a drawing."""
    rng = np.random.default_rng(1)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for i in range(n):
            picture = io.BytesIO()
            Image.fromarray(rng.integers(0, brightest, (64, 64, 3), dtype=np.uint8)).save(picture, "PNG")
            member = tarfile.TarInfo(f"noise{brightest}_{n}_{i}.png")
            member.size = len(picture.getvalue())
            archive.addfile(member, io.BytesIO(picture.getvalue()))
    return buffer.getvalue()
