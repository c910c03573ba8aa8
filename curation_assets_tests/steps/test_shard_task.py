"""One shard as an item of an engine: made, or recorded as failed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from curation_assets.errors import ShardError
from curation_assets.graph.base import Step
from curation_assets.pools import PoolSpec
from curation_assets.steps.context import PoolAccess, Report, StepContext
from curation_assets.steps.shard_task import MakeShard, ShardItem, is_transient
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.shards import Shard
from curation_assets_tests.projects import SMALL_POOL
from curation_assets_tests.steps.drawn_pool import RECIPE


def item(key: str, position: int = 0) -> ShardItem:
    return ShardItem(Shard(key, ()), RECIPE, position)


def write_key(step: StepContext) -> None:
    if step.shard.key == "bad":
        raise ShardError("shard 'bad': its tar ends early")
    step.writer.text("txt", step.shard.key)
    step.report(0.5, "half")


def makes_keys(storage: PoolStorage, more: dict[str, Any], report: Report | None = None) -> MakeShard:
    spec = PoolSpec.model_validate({"name": "pool", **SMALL_POOL})
    step = Step("step", "1", (), {}, partitioned=True)
    return MakeShard(PoolAccess(spec, storage), step, write_key, more, report)


def test_an_output_is_written_with_its_facts(tmp_path: Path) -> None:
    storage, lines = PoolStorage(str(tmp_path), "pool"), []
    make = makes_keys(storage, {"tree_version": "3"}, lambda *line: lines.append(line))
    outcome = make(item("00001", 4))
    assert outcome.facts == storage.output("step", "00001").require_facts()
    assert outcome.facts.summary == {"tree_version": "3"}
    assert storage.output("step", "00001").path("txt").read_text() == "00001"
    assert lines == [(4.5, "shard 00001: half")]


def test_a_failure_is_the_shards_own(tmp_path: Path) -> None:
    storage = PoolStorage(str(tmp_path), "pool")
    make = makes_keys(storage, {})
    outcome = make(item("bad"))
    assert outcome.facts is None
    assert outcome.error == "ShardError: shard 'bad': its tar ends early"
    assert "write_key" in outcome.trace
    assert not outcome.is_transient
    assert storage.output("step", "bad").facts() is None
    assert make(item("good")).facts is not None


@pytest.mark.parametrize(
    ("error", "expected"),
    [(TimeoutError("no answer"), True), (FileNotFoundError("gone"), False), (ValueError("wrong"), False)],
)
def test_only_storage_that_does_not_answer_is_worth_another_try(error: Exception, expected: bool) -> None:
    assert is_transient(error) is expected
    wrapped = ShardError("shard")
    wrapped.__cause__ = error
    assert is_transient(wrapped) is expected
