"""A fit on a sample of the pool's rows, and fits that hold no rows in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from curation_assets.algorithms import fit_hierarchy
from curation_assets.algorithms.kmeans.tiles import FitMemory
from curation_assets.algorithms.rows import ArrayRows
from curation_assets.errors import PoolSpecError
from curation_assets.graph.levels import level_specs
from curation_assets.pools import TargetSettings
from curation_assets.steps.comparison.candidates import Candidates, Size
from curation_assets.steps.report import gather_report
from curation_assets.steps.tree import fit_sample
from curation_assets.steps.tree.fit import LevelFit
from curation_assets.steps.tree.fit_sample import choose_sample, read_sample
from curation_assets.storage.fit_rows import FitRows, FittedShard, save_fit_rows
from curation_assets.storage.tables import LevelClusters
from curation_assets_tests.steps.drawn_pool import RECIPE, Pool
from curation_assets_tests.steps.other_pools import EmbeddedPool

LEVELS = [{"n_clusters": 20, "resampling_steps": 2}, {"n_clusters": 4, "resampling_steps": 1}]


def embedded(folder: Path, *, names: str = "abc", **changes: Any) -> EmbeddedPool:
    """Three shards of 60, 80 and 100 rows, whose ids do not depend on the names of the shards."""
    (folder / "raw").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name, n_rows in zip(names, (60, 80, 100), strict=True):
        np.save(folder / "raw" / f"{name}.npy", rng.normal(size=(n_rows, 8)).astype(np.float16))
        table = pl.DataFrame({"id": [f"{n_rows}-{row}" for row in range(n_rows)]})
        table.write_parquet(folder / "raw" / f"{name}.parquet")
    pool = EmbeddedPool(
        folder, {"layout": "folder", "pattern": "*.npy", "id_field": "id"}, **{"levels": LEVELS, **changes}
    )
    pool.ingest()
    pool.embed()
    return pool


def sampled_ids(pool: Pool) -> set[str]:
    sample = choose_sample(pool.spec, pool.storage)
    assert sample is not None
    return {
        sample_id
        for shard, rows in sample.items()
        for sample_id in pool.storage.output("embeddings", shard).table("rows.parquet")["sample_id"][rows]
    }


def test_the_sample_does_not_depend_on_the_order_of_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, turned = (embedded(tmp_path / names, names=names, fit_rows=97, seed=5) for names in ("abc", "cab"))
    ids = sampled_ids(pool)
    assert len(ids) == 97
    assert sampled_ids(turned) == ids
    monkeypatch.setattr(fit_sample, "_SPARE_ROWS", 3)
    assert sampled_ids(pool) == ids, "rows that come late replace earlier ones as they are found"
    other = embedded(tmp_path / "other", fit_rows=97, seed=6)
    assert sampled_ids(other) != ids


def test_level_1_is_fitted_on_the_sample_and_all_rows_are_assigned(tmp_path: Path) -> None:
    pool = embedded(tmp_path, fit_rows=120)
    pool.cluster()
    initial = pool.storage.initial(1)
    sample = read_sample(pool.storage, initial)
    assert sample is not None
    assert sum(len(rows) for rows in sample.values()) == 120 == len(initial.array("assignments.npy"))
    assert initial.require_facts().summary["n_rows_sampled_from"] == 240
    resampled = pool.storage.output("level_1_resampled")
    assert resampled.require_facts().summary["n_inputs"] == 120
    # The library on those very rows gives the same centroids.
    rows = np.concatenate(
        [pool.storage.output("embeddings", shard).array("npy")[rows] for shard, rows in sample.items()]
    )
    tree = fit_hierarchy(rows, level_specs(pool.spec, 240), seed=0)
    for level, fitted in enumerate(tree.levels, start=1):
        stored = pool.storage.output(f"level_{level}_clusters").array("centroids.npy")
        np.testing.assert_array_equal(stored, fitted.centroids)
    whole = pool.storage.embeddings()
    assigned = pl.concat(
        [pool.storage.output("level_1_assign", shard).table("parquet") for shard in whole.shards]
    )
    every = whole.read(0, whole.n_rows)
    np.testing.assert_array_equal(assigned["cluster"].to_numpy(), tree.assign(every)[:, 0])


def test_flat_k_means_is_drawn_from_the_sample_of_the_fit(tmp_path: Path) -> None:
    pool = embedded(tmp_path, fit_rows=120)
    pool.cluster()
    pool.select()
    pool.finish()
    data = gather_report(pool.spec, pool.storage, pool.reader)
    assert data.levels[0].n_inputs == 120
    assert data.levels[0].sizes.sum() == 240
    candidates = Candidates.read(pool.spec, pool.storage)
    assert (candidates.flat_clusters >= 0).sum() == 120
    flat = candidates.flat(Size(15), seed=0)
    assert flat is not None
    assert (len(flat), candidates.flat_clusters[flat].min() >= 0) == (15, True)


def test_a_sample_of_a_cleaned_pool_is_of_admitted_rows(tmp_path: Path) -> None:
    pool = embedded(tmp_path, fit_rows=50)
    shards = {}
    for shard in pool.storage.shards():
        whole = pool.storage.output("embeddings", shard.key).require_facts()
        kept = np.arange(0, whole.summary["n_rows"], 2)
        admitted = pool.storage.output("admitted", shard.key)
        with admitted.writing(RECIPE) as writer:
            writer.array("kept.npy", kept)
        shards[shard.key] = FittedShard(admitted.require_facts().digest, len(kept), whole.digest)
    save_fit_rows(pool.storage.folder, FitRows(shards, "", "first fit"))
    sample = choose_sample(pool.spec, pool.storage)
    assert sample is not None
    assert sum(len(rows) for rows in sample.values()) == 50
    assert all((rows % 2 == 0).all() and (np.diff(rows) > 0).all() for rows in sample.values())


@pytest.mark.parametrize("fit_rows", [None, 240, 1000])
def test_a_sample_of_everything_is_none(tmp_path: Path, fit_rows: int | None) -> None:
    pool = embedded(tmp_path, fit_rows=fit_rows)
    assert choose_sample(pool.spec, pool.storage) is None
    with pool.storage.output("level_1_initial").writing(RECIPE) as writer:
        LevelFit(pool.spec, pool.storage, 1).initial(writer)
    assert LevelClusters.fit_sample.name not in pool.storage.output("level_1_initial").require_facts().files


def test_sizes_are_planned_for_the_rows_that_are_fitted(tmp_path: Path) -> None:
    auto = [{"n_clusters": "auto"}, {"n_clusters": "auto"}]
    whole = embedded(tmp_path, levels=auto).spec
    sampled = whole.model_copy(update={"fit_rows": 1000})
    assert level_specs(sampled, 100_000) == level_specs(whole, 1000)
    tenth = {"targets": (TargetSettings(name="tenth", fraction=0.1),)}
    assert level_specs(sampled.model_copy(update=tenth), 10_000)[0].n_clusters == 200, "a tenth of the sample"


def test_a_budget_that_is_too_small_is_named_with_what_it_takes(tmp_path: Path) -> None:
    levels = [{"n_clusters": 200, "resampling_steps": 0}]
    pool = embedded(tmp_path, levels=levels, memory_budget=2 * 10**9)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("curation_assets.algorithms.costs.planning.PROCESS_BYTES", 3 * 10**9)
        with (
            pytest.raises(
                PoolSpecError, match=r"level 1: memory_budget is 2\.00 GB.*needs at least 3\.\d+ GB"
            ),
            pool.storage.output("level_1_clusters").writing(RECIPE) as writer,
        ):
            LevelFit(pool.spec, pool.storage, 1).final(writer)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("centring", [False, True])
def test_rows_on_disk_give_the_bytes_of_rows_in_memory(tmp_path: Path, threads: int, centring: bool) -> None:
    pool = embedded(tmp_path)
    rows = pool.storage.embeddings()
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    specs = level_specs(pool.spec, rows.n_rows)
    memories = {
        "resident": (ArrayRows(rows.read(0, rows.n_rows)), FitMemory()),
        "streamed": (rows, FitMemory(0, chunk_bytes=4 * 8 * 7)),
        "subset resident": (rows, FitMemory(4 * 8 * 200, chunk_bytes=4 * 8 * 33)),
        "subset streamed": (rows, FitMemory(4 * 8 * 241, chunk_bytes=4 * 8 * 64)),
    }
    trees = {
        name: fit_hierarchy(source, specs, centring=centring, memory=memory)
        for name, (source, memory) in memories.items()
    }
    torch.set_num_threads(before)
    for name, tree in trees.items():
        for level, expected in zip(tree.levels, trees["resident"].levels, strict=True):
            assert level.centroids.tobytes() == expected.centroids.tobytes(), name
            assert level.assignments.tobytes() == expected.assignments.tobytes(), name
            assert level.distances.tobytes() == expected.distances.tobytes(), name
            assert level.inertias == expected.inertias, name
