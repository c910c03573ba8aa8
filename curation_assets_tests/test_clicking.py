"""Clicking is safe: whatever is materialized first, the end is that of a run from scratch, or red with the remedy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from curation_assets.graph.steps import pool_steps
from curation_assets_tests.asset_backfills import Clicker, clicking, errors_of, follow
from curation_assets_tests.projects import SMALL_POOL, Project, copy_project, make_project

CHANGED: dict[str, Any] = json.loads(json.dumps(SMALL_POOL))
CHANGED["levels"][1]["n_clusters"] = 7
SHARDS = ["00000", "00001", "00002"]
REMEDY = (
    "materialize level_2_initial and everything downstream of it first, or run the job "
    "emoji_recluster_from_level_2 or `curation-assets run --pool emoji`"
)


def digests(project: Project) -> dict[tuple[str, str | None], str]:
    """Digest of the content of every output."""
    storage, steps = project.storage, pool_steps(project.spec)
    return {
        (step.name, key): storage.output(step.name, key).require_facts().digest
        for step in steps.values()
        # The tree names the one before it, and a page says when it was made.
        if step.name not in ("tree", "curation_report")
        for key in ([shard.key for shard in storage.shards()] if step.partitioned else [None])
    }


@pytest.fixture(scope="module")
def from_scratch(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str | None], str]:
    """What the changed settings give in a new project."""
    project = make_project(tmp_path_factory.mktemp("scratch"))
    project.write_pool(CHANGED)
    code, output = project.run("run", "--pool", "emoji")
    assert code == 0, output
    return digests(project)


@pytest.fixture
def clicker(finished: Project, tmp_path: Path) -> Iterator[Clicker]:
    """A curated project whose level 2 was changed afterwards."""
    project = copy_project(finished, tmp_path)
    project.write_pool(CHANGED)
    with clicking(project) as clicker:
        yield clicker


def test_any_asset_alone_is_up_to_date_or_red_with_the_remedy(clicker: Clicker) -> None:
    steps, before = pool_steps(clicker.project.spec), clicker.project.modified_times()
    late = set(follow(steps, "level_2_initial")) - {"level_2_initial"}
    for name, step in steps.items():
        if name == "level_2_initial":
            continue
        result = clicker.materialize([name], SHARDS if step.partitioned else None)
        if name in late:
            [error] = errors_of(result)
            assert REMEDY in error, error
            continue
        assert result.success, errors_of(result)
        events = result.asset_materializations_for_node(f"emoji__{name}")
        assert all(event.metadata["reused"].value for event in events)
        assert "up to date since 20" in str(events[0].metadata["nothing_done"].value)
    assert clicker.project.modified_times() == before


def test_a_backfill_from_any_late_asset_is_red_and_makes_nothing(clicker: Clicker) -> None:
    steps, before = pool_steps(clicker.project.spec), clicker.project.modified_times()
    for first in follow(steps, "level_2_initial")[1:]:
        chosen = follow(steps, first)
        partitions = SHARDS if any(steps[name].partitioned for name in chosen) else None
        errors = clicker.backfill(chosen, partitions)
        assert errors
        assert all(REMEDY in error for error in errors), errors
    assert clicker.project.modified_times() == before


def test_a_backfill_from_the_changed_asset_ends_as_a_run_from_scratch(
    clicker: Clicker, from_scratch: dict[tuple[str, str | None], str]
) -> None:
    steps = pool_steps(clicker.project.spec)
    assert clicker.backfill(follow(steps, "level_2_initial"), SHARDS) == []
    assert digests(clicker.project) == from_scratch
    _code, output = clicker.project.run("run", "--pool", "emoji")
    assert "nothing to do" in output, output


def test_a_backfill_of_one_shard_is_red_where_it_would_mix_and_a_run_mends_it(
    clicker: Clicker, from_scratch: dict[tuple[str, str | None], str]
) -> None:
    steps, before = pool_steps(clicker.project.spec), clicker.project.modified_times()
    [error] = clicker.backfill(follow(steps, "level_2_initial"), ["00001"])
    assert error.startswith("drift reads level_2_assign of shard '00000', which is out of date"), error
    assert "or run the job emoji_curate or `curation-assets run --pool emoji`" in error
    after = clicker.project.modified_times()
    late = ("selection", "ledger", "balanced_dataset", "comparison", "atlas", "curation_report")
    assert not [path for path in after if path.startswith(late) and after[path] != before.get(path)]
    code, output = clicker.project.run("run", "--pool", "emoji")
    assert code == 0, output
    assert digests(clicker.project) == from_scratch


def test_a_job_and_a_command_from_the_changed_level_end_as_a_run_from_scratch(
    clicker: Clicker, from_scratch: dict[tuple[str, str | None], str]
) -> None:
    code, output = clicker.project.run("backfill", "--pool", "emoji", "--from", "level_3")
    assert code == 1
    assert REMEDY in " ".join(output.split()), output
    code, output = clicker.project.run("backfill", "--pool", "emoji", "--from", "level_2")
    assert code == 0, output
    assert digests(clicker.project) == from_scratch


def test_the_launch_dialog_can_ask_for_it_again(finished: Project, tmp_path: Path) -> None:
    project = copy_project(finished, tmp_path)
    before = project.modified_times()
    with clicking(project) as clicker:
        assert clicker.materialize(["embeddings"], SHARDS, again=False).success
        assert project.modified_times() == before
        result = clicker.materialize(["embeddings"], SHARDS[:1], again=True)
        assert result.success
        [event] = result.asset_materializations_for_node("emoji__embeddings")
        assert "reused" not in event.metadata
        result = clicker.materialize(["selection"], again=True)
        assert result.success
    after = project.modified_times()
    changed = {path.partition("/")[0] for path in before if after[path] != before[path]}
    assert changed == {"embeddings", "selection"}
    assert after["embeddings/00001.npy"] == before["embeddings/00001.npy"]
    assert project.selection_bytes() == finished.selection_bytes()
    _code, output = project.run("run", "--pool", "emoji")
    assert "nothing to do" in output, "the same bytes again leave everything else up to date"
