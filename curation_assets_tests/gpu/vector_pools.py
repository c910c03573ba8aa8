"""Three small pools of embeddings, curated on one device or another through the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation_assets.algorithms.search import choose, pairs
from curation_assets.algorithms.search.kind import Kind
from curation_assets_tests.projects import Project, copy_project, curate

N_SHARDS, ROWS, DIMENSION = 3, 240, 40
FITTED = ("level_1_clusters", "level_2_clusters", "selection")
POOLS: dict[str, dict[str, Any]] = {
    "clustered": {
        "preprocessing": {"centring": True},
        "deduplication": {"exact": False},
        "levels": [{"n_clusters": 60, "resampling_steps": 2}, {"n_clusters": 12, "resampling_steps": 2}],
    },
    "tight": {
        "preprocessing": {"metric": "l2"},
        "levels": [{"n_clusters": 50}, {"n_clusters": 9, "resampling_steps": 2}],
    },
    "uneven": {"levels": [{"n_clusters": 60, "n_coarse_clusters": 6}, {"n_clusters": 10}]},
}
"""Settings of a pool by its kind of rows; the last has a split level."""


def rows_of(kind: str) -> np.ndarray:
    """Float16 (n, d): far apart, close together around few centres, or in directions of falling variance."""
    rng = np.random.default_rng(0)
    n_rows, n_centres = N_SHARDS * ROWS, {"clustered": 40, "tight": 8, "uneven": 80}[kind]
    spectrum = (1 + np.arange(DIMENSION)) ** (-0.7 if kind == "uneven" else 0.0)
    chosen = rng.zipf(1.5, n_rows) % n_centres
    noise = {"clustered": 0.8, "tight": 0.1, "uneven": 0.7}[kind] * rng.normal(size=(n_rows, DIMENSION))
    rows = (rng.normal(size=(n_centres, DIMENSION))[chosen] + noise) * spectrum
    # Ties and copies, which every device has to decide in the same way.
    rows[: n_rows // 20] = rows[n_rows // 20]
    return rows.astype(np.float16)


def make_vector_project(folder: Path, kind: str) -> Project:
    """A project with one of the pools, not curated yet."""
    raw = folder / "data" / "raw" / "v"
    raw.mkdir(parents=True)
    rows = rows_of(kind).reshape(N_SHARDS, ROWS, DIMENSION)
    for shard in range(N_SHARDS):
        np.save(raw / f"{shard:05}.npy", rows[shard])
        keys = [f"{shard}-{i}" for i in range(ROWS)]
        pq.write_table(pa.table({"key": keys}), raw / f"{shard:05}.parquet")
    project = Project(folder)
    project.write_pool(settings_of(kind, "cpu"))
    project.home.dagster_state.mkdir(parents=True)
    (project.home.dagster_state / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    return project


def settings_of(kind: str, device: str, **changes: Any) -> dict[str, Any]:
    """Settings of a pool whose fits run on a device."""
    source = {
        "format": "embeddings",
        "layout": "folder",
        "path": "data/raw/v",
        "encoder": "x",
        "id_field": "key",
    }
    targets = [{"name": "tenth", "fraction": 0.1}, {"name": "fifty", "size": 50, "strategy": "closest"}]
    return {
        "source": source,
        "targets": targets,
        "atlas": None,
        **POOLS[kind],
        "fit_device": device,
        **changes,
    }


def fitted_again(project: Project, folder: Path, device: str, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A copy whose tree and selection are made anew from the stored embeddings, on another device.

    Args:
        project: curated.
        folder: of the copy.
        device: torch device, or 'plain' for the implementation of devices without compiled loops and kernels.
        monkeypatch: of the test.
    """
    copy = copy_project(project, folder)
    if device == "plain":
        for module in (choose, pairs):
            monkeypatch.setattr(module, "kind_of", lambda _: Kind.PLAIN)
    else:
        copy.write_pool({**copy.settings(), "fit_device": device})
    curate(copy, again=True)
    return copy


def digests(project: Project) -> dict[str, str]:
    """Of the contents of what fits and draws store: the same bytes give the same."""
    return {name: project.storage.output(name).require_facts().digest for name in FITTED}
