"""The memory of a worker, on rows that exceed its budget."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from upath import UPath

from curation_assets.algorithms.costs.planning import fit_memory
from curation_assets.algorithms.hierarchy import LevelFitter, LevelSpec
from curation_assets.algorithms.preprocessing import PreparedRows, Preprocessing
from curation_assets.engines.ray.engine import RayEngine
from curation_assets.steps.tree.fit_workers import held_inputs
from curation_assets.storage.array_files import StoredRows
from curation_assets_tests.engines.ray.conftest import BUDGET

N_ROWS, DIMENSION = 1_500_000, 256


@pytest.mark.slow
def test_a_worker_keeps_within_its_budget(engine: RayEngine, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    array = np.lib.format.open_memmap(tmp_path / "rows.npy", "w+", np.float16, (N_ROWS, DIMENSION))
    for start in range(0, N_ROWS, 50_000):
        array[start : start + 50_000] = rng.normal(size=(50_000, DIMENSION), scale=0.1)
    array.flush()
    rows = PreparedRows(StoredRows(UPath(tmp_path / "rows.npy")), Preprocessing("cosine", None, 2.0**-24))
    spec = LevelSpec(n_clusters=64, resampling_steps=0, max_iterations=2)
    memory = fit_memory(BUDGET, N_ROWS // 2, DIMENSION, spec)
    # The rows of a worker take three times of what is left for them: they are read in every pass.
    assert 3 * memory.resident_bytes < 4 * DIMENSION * N_ROWS // 2
    fitter = LevelFitter(level=1, spec=spec, metric="cosine", seed=0, memory=memory)
    with held_inputs(engine, rows, fitter, n_workers=2, device="cpu") as held:
        level = fitter.fit(held)
    assert level.inertias[0][1] < level.inertias[0][0]
    assert engine.describe()["peak_worker_bytes"] <= BUDGET
