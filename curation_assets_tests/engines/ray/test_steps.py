"""Steps of a pool on a simulated cluster: split levels, deduplication, shards, and a leader that is killed."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from curation_assets.algorithms.hierarchy import FitProgress
from curation_assets.engines import LocalEngine
from curation_assets.engines.ray.engine import RayEngine
from curation_assets.engines.ray.simulated import SimulatedCluster
from curation_assets.graph.base import Step
from curation_assets.graph.steps import pool_steps
from curation_assets.pools import PoolSpec
from curation_assets.steps.context import PoolAccess, StepContext
from curation_assets.steps.shard_task import MakeShard, ShardItem
from curation_assets.steps.tree.assign import assign_shard
from curation_assets.steps.tree.fit import LevelFit
from curation_assets.storage.shards import Shard
from curation_assets_tests.engines.ray.conftest import BUDGET
from curation_assets_tests.formats.embedded import write_clip_retrieval
from curation_assets_tests.steps.drawn_pool import RECIPE
from curation_assets_tests.steps.duplicate_pool import DuplicatePool, Sample, image_spec
from curation_assets_tests.steps.making import make
from curation_assets_tests.steps.other_pools import EmbeddedPool, make_embedded_pool

SPREAD = {"engine": {"kind": "ray", "least_work": 1, "cpus_per_worker": 0.5}}


def changed(spec: PoolSpec, **changes: object) -> PoolSpec:
    return PoolSpec.model_validate(spec.model_dump() | changes)


def digest(pool: EmbeddedPool, name: str = "level_1_clusters") -> str:
    return pool.storage.output(name).require_facts().digest


def test_a_split_level_is_the_same(engine: RayEngine, tmp_path: Path) -> None:
    pool = make_embedded_pool(tmp_path)
    pool.spec = changed(pool.spec, **SPREAD)
    digests = []
    for where in (None, engine):
        chosen = {} if where is None else {"engine": where}
        fit = LevelFit(pool.spec, pool.storage, 1, bucket_bytes=32 * 60, **chosen)  # type: ignore[arg-type]
        with pool.storage.output("level_1_clusters").writing(RECIPE) as writer:
            fit.final(writer)
        digests.append(digest(pool))
    assert digests[0] == digests[1]
    assert pool.storage.output("level_1_clusters").require_facts().summary["engine"]["kind"] == "ray"


def test_near_duplicates_are_the_same(engine: RayEngine, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    centres = rng.normal(size=(150, 6))
    evidence = []
    for name in ("here", "there"):
        pool = DuplicatePool(tmp_path / name, image_spec(n_clusters=12, keep="closest"))
        rng = np.random.default_rng(4)
        for shard in range(3):
            vectors = centres[rng.integers(150, size=120)] + 0.15 * rng.normal(size=(120, 6))
            samples = [
                Sample(f"{shard}-{row}", f"{shard}/{row}", tuple(vector))
                for row, vector in enumerate(vectors)
            ]
            pool.put(f"s{shard}", samples)
        make(pool.spec, pool.storage, "duplicates", engine=engine if name == "there" else LocalEngine())
        evidence.append(pool.evidence())
    assert evidence[0].height > 50
    assert evidence[0].equals(evidence[1])


def _refuses_one(step: StepContext) -> None:
    if step.shard.key == "1":
        raise ValueError("this one")
    step.writer.text("txt", f"{step.shard.key} by {os.getpid()}")


def test_shards_are_made_by_other_processes_and_one_may_fail(engine: RayEngine, tmp_path: Path) -> None:
    pool = make_embedded_pool(tmp_path)
    items = [ShardItem(Shard(str(number), ()), RECIPE) for number in range(4)]
    step = Step("step", "1", (), {}, partitioned=True)
    refuse = MakeShard(PoolAccess(pool.spec, pool.storage), step, _refuses_one, {})
    outcomes = dict(engine.map(refuse, items))
    assert outcomes[1].error == "ValueError: this one"
    texts = [pool.storage.output("step", str(number)).path("txt").read_text() for number in (0, 2, 3)]
    assert [text[0] for text in texts] == ["0", "2", "3"]
    assert str(os.getpid()) not in {text.split()[-1] for text in texts}


def test_assignments_of_shards_are_the_same(engine: RayEngine, tmp_path: Path) -> None:
    pool = make_embedded_pool(tmp_path)
    with pool.storage.output("level_1_clusters").writing(RECIPE) as writer:
        LevelFit(pool.spec, pool.storage, 1).final(writer)
    items = [ShardItem(shard, RECIPE) for shard in pool.storage.shards()]
    step = pool_steps(pool.spec)["level_1_assign"]
    assign = MakeShard(PoolAccess(pool.spec, pool.storage), step, assign_shard, {})
    here = [assign(item) for item in items]
    elsewhere = dataclasses.replace(step, name="elsewhere")
    there = dict(engine.map(dataclasses.replace(assign, step=elsewhere), items))
    assert len(here) == 3
    for number, outcome in enumerate(here):
        assert outcome.facts is not None
        assert there[number].facts is not None
        assert there[number].facts.digest == outcome.facts.digest


LEVELS = [
    {"n_clusters": 150, "resampling_steps": 2, "tolerance": 0.0},
    {"n_clusters": 6, "resampling_steps": 1},
]


def large_pool(folder: Path, address: str) -> EmbeddedPool:
    """6,000 rows of 8 dimensions in three shards."""
    if not (folder / "raw").exists():
        write_clip_retrieval(folder / "raw", [2000, 2000, 2000])
    engine = SPREAD["engine"] | {"address": address, "workers": 2}
    return EmbeddedPool(folder, {"id_field": "url"}, levels=LEVELS, engine=engine)


def fit_initial(pool: EmbeddedPool, pause: float = 0.0) -> list[int]:
    """Fit level 1 on the pool's cluster; returns the iterations that were computed."""
    done: list[int] = []

    def note(progress: FitProgress) -> None:
        done.append(progress.iteration.number)
        time.sleep(pause)

    engine = RayEngine(pool.spec.engine, BUDGET)
    fit = LevelFit(pool.spec, pool.storage, 1, note, engine=engine, seconds_between=0.0)
    with pool.storage.output("level_1_initial").writing(RECIPE) as writer:
        fit.initial(writer)
    return done


def test_a_killed_leader_goes_on_at_the_next_iteration(cluster: SimulatedCluster, tmp_path: Path) -> None:
    pool = large_pool(tmp_path, cluster.address)
    pool.ingest()
    pool.embed()
    script = (
        "from curation_assets_tests.engines.ray.test_steps import fit_initial, large_pool\n"
        f"from pathlib import Path\nfit_initial(large_pool(Path({str(tmp_path)!r}), {cluster.address!r}), 0.3)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    leader = subprocess.Popen([sys.executable, "-c", script], env=environment)
    folder = Path(str(pool.storage.output("level_1_initial").folder))
    deadline = time.monotonic() + 120
    while not list(folder.glob(".fit-*/state-0-4.npz")):
        assert time.monotonic() < deadline
        assert leader.poll() is None
        time.sleep(0.05)
    leader.send_signal(signal.SIGKILL)
    leader.wait()
    began = time.monotonic()
    iterations = fit_initial(pool)
    assert iterations[0] >= 5
    assert time.monotonic() - began < 90
    with_engine = digest(pool, "level_1_initial")
    with pool.storage.output("level_1_initial").writing(RECIPE) as writer:
        LevelFit(pool.spec, pool.storage, 1).initial(writer)
    assert digest(pool, "level_1_initial") == with_engine
