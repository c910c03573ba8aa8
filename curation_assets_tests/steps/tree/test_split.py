"""Split levels through files: the same bytes as in memory, however they are cut, killed and resumed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import numpy as np
import pytest

from curation_assets.defs.partitions import sync_partitions
from curation_assets.defs.pool_definitions import build_definitions
from curation_assets.errors import CurationError
from curation_assets.formats import build_reader
from curation_assets.progress import shown_in
from curation_assets.project import Home
from curation_assets.steps.tree import split
from curation_assets.steps.tree.fit import LevelFit
from curation_assets.steps.tree.split import SplitProgress
from curation_assets.storage import clusters
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.shards import group_files
from curation_assets.storage.tables import LevelClusters
from curation_assets_tests.formats.embedded import write_clip_retrieval
from curation_assets_tests.steps.drawn_pool import RECIPE
from curation_assets_tests.steps.other_pools import SPLIT_LEVELS, EmbeddedPool, make_embedded_pool

SMALL = 32 * 60
"""Bytes of 60 rows as float32: several buckets, and one coarse cluster that exceeds them."""
Pieces = list[tuple[str, int, bool]]


@pytest.fixture
def pool(tmp_path: Path) -> EmbeddedPool:
    return make_embedded_pool(tmp_path)


def fit(
    pool: EmbeddedPool, on_split: Callable[[SplitProgress], None] | None = None, size: int = SMALL
) -> Pieces:
    """Fit level 1; what was made or found, in order."""
    pieces: Pieces = []

    def note(piece: SplitProgress) -> None:
        pieces.append((piece.stage, piece.done, piece.resumed))
        if on_split:
            on_split(piece)

    level = LevelFit(pool.spec, pool.storage, 1, on_split=note, bucket_bytes=size)
    with output(pool).writing(RECIPE) as writer:
        level.final(writer)
    return pieces


def output(pool: EmbeddedPool) -> LevelClusters:
    return pool.storage.clusters(1)


def digest(pool: EmbeddedPool) -> str:
    return output(pool).require_facts().digest


def working(pool: EmbeddedPool) -> list[Path]:
    return sorted(Path(str(output(pool).folder)).glob(".split-*"))


def test_the_stored_level_is_that_of_a_fit_in_memory(pool: EmbeddedPool) -> None:
    pieces = fit(pool)
    stored = {name: output(pool).path(name).read_bytes() for name in output(pool).require_facts().files}
    summary = output(pool).require_facts().summary
    with output(pool).writing(RECIPE) as writer:
        level = LevelFit(pool.spec, pool.storage, 1)
        inputs, preprocessing = level._measured_inputs(writer)
        fitted = level._fitter(inputs)[0].fit_initial(inputs)
        clusters.write_level(writer, fitted, with_inputs=False)
        level._describe(writer, fitted, preprocessing)
    assert stored == {name: output(pool).path(name).read_bytes() for name in stored}
    assert summary == {**output(pool).require_facts().summary, "n_inputs": 600, "device": "cpu"}
    counts = np.bincount(level._fitter(inputs)[0].fit_coarse(inputs).assignments)
    assert counts.max() > 60, "no coarse cluster exceeds the budget: the test proves less than it says"
    assert len([stage for stage, *_ in pieces if stage == "bucket"]) > 4
    assert [piece for piece in pieces if piece[0] == "run"] == [("run", n + 1, False) for n in range(10)]


@pytest.mark.parametrize("size", [32 * 23, 2**30])
def test_neither_buckets_nor_runs_change_a_byte(pool: EmbeddedPool, size: int) -> None:
    fit(pool)
    reference = digest(pool)
    pieces = fit(pool, size=size)
    assert digest(pool) == reference
    assert not any(resumed for *_, resumed in pieces)
    assert not working(pool)


def test_what_was_finished_before_a_failure_is_not_made_again(pool: EmbeddedPool) -> None:
    fit(pool)
    reference = digest(pool)

    def fail_at(stage: str, number: int) -> Callable[[SplitProgress], None]:
        def fail(piece: SplitProgress) -> None:
            if (piece.stage, piece.done) == (stage, number):
                raise RuntimeError("the machine stops")

        return fail

    made: Pieces = []
    for stage, number in (("coarse", 1), ("run", 4), ("bucket", 2), ("bucket", 3)):
        with pytest.raises(RuntimeError, match="the machine stops"):
            fit(pool, fail_at(stage, number))
        assert len(working(pool)) == 1
    made = fit(pool)
    assert digest(pool) == reference
    assert made[0] == ("coarse", 1, True)
    buckets = [resumed for stage, _, resumed in made if stage == "bucket"]
    assert buckets == [True] * 3 + [False] * (len(buckets) - 3)
    assert all(resumed for stage, _, resumed in made if stage == "run")
    assert not working(pool)


def test_a_process_that_is_killed_is_resumed(pool: EmbeddedPool) -> None:
    fit(pool)
    reference = digest(pool)
    script = f"from curation_assets_tests.steps.tree.test_split import die; die({str(pool.folder)!r})"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[3])}
    killed = subprocess.run([sys.executable, "-c", script], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    [folder] = working(pool)
    (folder / ".tmp-chunk-0-1.npz-x").write_bytes(b"half a file")
    made = fit(pool)
    buckets = [resumed for stage, _, resumed in made if stage == "bucket"]
    assert buckets == [True] * 2 + [False] * (len(buckets) - 2)
    assert digest(pool) == reference
    assert not working(pool)


def die(folder: str) -> None:
    """Fit, and be killed with the second bucket stored."""

    def kill(piece: SplitProgress) -> None:
        if (piece.stage, piece.done) == ("bucket", 2):
            os.kill(os.getpid(), signal.SIGKILL)

    fit(EmbeddedPool(Path(folder), {"id_field": "url"}, levels=SPLIT_LEVELS), kill)


def test_a_resumed_fit_may_have_another_budget(pool: EmbeddedPool) -> None:
    fit(pool)
    reference = digest(pool)
    stop_after_bucket(pool, 3)
    made = fit(pool, size=32 * 150)
    assert made[0] == ("coarse", 1, True)
    assert [resumed for stage, _, resumed in made if stage == "run"] == [False] * 4
    assert digest(pool) == reference


def test_other_settings_begin_anew(pool: EmbeddedPool) -> None:
    stop_after_bucket(pool, 2)
    [old] = working(pool)
    folders: set[Path] = set()
    pool.spec = pool.spec.model_copy(update={"seed": 5})
    made = fit(pool, lambda piece: folders.update(working(pool)))
    assert not any(resumed for *_, resumed in made)
    assert len(folders) == 1
    assert old not in folders


def test_other_rows_begin_anew(pool: EmbeddedPool) -> None:
    stop_after_bucket(pool, 2)
    array = np.load(pool.folder / "raw" / "img_emb" / "img_emb_2.npy")
    np.save(pool.folder / "raw" / "img_emb" / "img_emb_2.npy", array[::-1])
    pool.embed()
    assert not any(resumed for *_, resumed in fit(pool))


def test_a_level_that_is_split_no_longer_leaves_no_working_files(pool: EmbeddedPool) -> None:
    stop_after_bucket(pool, 1)
    pool = EmbeddedPool(pool.folder, {"id_field": "url"}, levels=[{"n_clusters": 20, "resampling_steps": 0}])
    fit(pool)
    assert not working(pool)
    assert len(output(pool).centroids.read()) == 20


def test_a_full_disk_is_noticed_before_it_is_filled(
    pool: EmbeddedPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(pool.folder)
    monkeypatch.setattr(split.shutil, "disk_usage", lambda _: usage._replace(free=9_599))
    with pytest.raises(CurationError, match=r"level 1 needs 0\.0 GB for a copy of the rows in .*make room"):
        fit(pool)
    monkeypatch.setattr(split.shutil, "disk_usage", lambda _: usage._replace(free=9_600))
    assert fit(pool)[0] == ("coarse", 1, True)


def test_progress_says_how_far_and_of_what() -> None:
    pieces = [
        SplitProgress("coarse", 1, 1, False),
        SplitProgress("run", 2, 4, True),
        SplitProgress("bucket", 3, 4, False, (10, 1_520)),
    ]
    assert [piece.detail for piece in pieces] == [
        "coarse fit",
        "run 2 of 4 kept from an earlier run",
        "bucket 3 of 4, coarse clusters 10 to 1,519",
    ]
    assert [piece.share for piece in pieces] == pytest.approx([0.5, 0.55, 0.9])


def test_the_graph_reads_a_split_level_as_any_other(pool: EmbeddedPool) -> None:
    pool.cluster()
    centroids = output(pool).centroids.read()
    rows = [
        pool.storage.output("level_1_assign", shard.key).table("parquet")["cluster"].to_numpy()
        for shard in pool.storage.shards()
    ]
    np.testing.assert_array_equal(np.unique(np.concatenate(rows)), np.arange(len(centroids)))
    parents = pool.storage.clusters(2).assignments.read()
    assert parents.shape == (len(centroids),)


class Shown:
    """Keeps what a terminal would show of level 1."""

    def __init__(self) -> None:
        self.lines: list[tuple[float, str]] = []

    def begin(self, task: str, total: int) -> None:
        pass

    def update(self, task: str, done: float, detail: str) -> None:
        if task == "level_1_clusters":
            self.lines.append((done, detail))

    def end(self, task: str) -> None:
        pass


def test_the_terminal_shows_every_piece_of_a_split_level(tmp_path: Path) -> None:
    write_clip_retrieval(tmp_path / "raw", [200])
    spec = EmbeddedPool(tmp_path, {"id_field": "url"}, levels=SPLIT_LEVELS).spec
    home = Home(tmp_path, str(tmp_path / "curated"), tmp_path / "dagster")
    shards = group_files(build_reader(spec.source, tmp_path).list_files(), 1)
    PoolStorage(home.storage_root, spec.name).save_shards(shards)
    names = ("raw_pool", "embeddings", "level_1_clusters")
    shown = Shown()
    with dg.DagsterInstance.ephemeral() as instance, shown_in(shown):
        sync_partitions(instance, spec, shards)
        job = build_definitions([spec], home).resolve_job_def(f"{spec.name}_all")
        keys = [dg.AssetKey([spec.name, name]) for name in names]
        tags = {f"dagster/asset_partition_range_{end}": shards[0].key for end in ("start", "end")}
        assert job.execute_in_process(instance=instance, asset_selection=keys, tags=tags).success
    shares, details = zip(*shown.lines, strict=True)
    assert list(shares) == sorted(shares)
    assert details[0].startswith("iteration 1, inertia")
    assert details[-4:] == ("coarse fit", "run", "bucket, coarse clusters 0 to 11", "done")


def stop_after_bucket(pool: EmbeddedPool, number: int) -> None:
    def stop(piece: SplitProgress) -> None:
        if (piece.stage, piece.done) == ("bucket", number):
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        fit(pool, stop)
