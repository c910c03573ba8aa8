"""Backfills from a shell: forced steps, chosen shards, failures kept apart, SIGKILL survived."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from curation_assets.defs.run.tags import PARENT_RUN_TAG
from curation_assets_tests.projects import Project, copy_project, materialized


@pytest.fixture
def project(finished: Project, tmp_path: Path) -> Project:
    return copy_project(finished, tmp_path / "project")


def kill_when(project: Project, condition: Callable[[], bool], *arguments: str) -> None:
    process = project.start(*arguments)
    deadline = time.monotonic() + 120
    while not condition() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert process.poll() is None, "it ended before it could be killed"
    process.send_signal(signal.SIGKILL)
    process.communicate()


def facts_time(project: Project, asset: str, shard: str | None = None) -> str:
    facts = project.storage.output(asset, shard).facts()
    return facts.made_at if facts else ""


def new_runs(project: Project, before: set[str]) -> list[str]:
    """The waves of commands, without their parents."""
    with project.instance() as instance:
        return [
            run.run_id
            for run in instance.get_runs()
            if run.run_id not in before and PARENT_RUN_TAG in run.tags
        ]


def test_a_level_and_no_more(project: Project) -> None:
    before = project.modified_times()
    code, output = project.run("backfill", "--pool", "emoji", "--from", "level_2", "--to", "level_2")
    assert code == 0, output
    after = project.modified_times()
    changed = {path.split("/")[0] for path in before if before[path] != after[path]}
    assert changed == {"level_2_initial", "level_2_resampled", "level_2_clusters", "level_2_assign"}


def test_shards_in_two_processes(project: Project) -> None:
    with project.instance() as instance:
        old = {run.run_id for run in instance.get_runs()}
    selection = project.selection_bytes()
    code, output = project.run(
        "backfill",
        "--pool",
        "emoji",
        "--from",
        "level_1_assign",
        "--shards",
        "00000..00001",
        "--parallel",
        "2",
    )
    assert code == 0, output
    assert "[00000]" in output
    assert "[00001]" in output
    runs = new_runs(project, old)
    with project.instance() as instance:
        made = materialized(instance, runs)
    levels = ("level_1_assign", "level_2_assign", "level_3_assign")
    assert made == {(level, shard) for level in levels for shard in ("00000", "00001")}
    assert len(runs) == 2
    assert project.selection_bytes() == selection
    code, output = project.run("run", "--pool", "emoji")
    assert "nothing to do" in output, "the same bytes: nothing downstream is out of date"


def test_refused_combinations_say_why(project: Project) -> None:
    for arguments, words in (
        (("--from", "level_2", "--shards", "00000"), "would mix clusters"),
        (("--from", "raw_pool", "--to", "selection", "--failed"), "would mix clusters"),
        (("--shards", "00000", "--missing"), "--shards and --missing are given: choose one"),
        ((), "backfill needs --from STEP"),
        (("--from", "level_2", "--to", "embeddings"), "does not come after"),
        (("--shards", "00007"), "no such shard; there are 3: 00000 to 00002"),
    ):
        code, output = project.run("backfill", "--pool", "emoji", *arguments)
        assert (code, words in " ".join(output.split())) == (2, True), output


def test_a_failed_shard_keeps_the_others_and_is_retried_alone(project: Project) -> None:
    raw = project.folder / "data" / "raw" / "emoji"
    whole = (raw / "00001.tar").read_bytes()
    (raw / "00001.tar").unlink()
    (raw / "00001.tar").symlink_to(raw / "nowhere")
    code, output = project.run("backfill", "--pool", "emoji", "--from", "raw_pool", "--to", "raw_pool")
    assert code == 1
    assert "1 of 3 shards failed; the others are kept" in " ".join(output.split())
    (raw / "00001.tar").unlink()
    (raw / "00001.tar").write_bytes(whole)
    kept = {shard: facts_time(project, "raw_pool", shard) for shard in ("00000", "00002")}
    code, output = project.run("backfill", "--pool", "emoji", "--failed")
    assert code == 0, output
    assert {shard: facts_time(project, "raw_pool", shard) for shard in kept} == kept
    assert "for 1 shard in" in output
    code, output = project.run("backfill", "--pool", "emoji", "--failed")
    assert "nothing to do, no failed shard is out of date" in output


def test_missing_shards_are_made(project: Project) -> None:
    project.storage.output("embeddings", "00002").path("facts.json").unlink()
    before = project.modified_times()
    code, output = project.run("backfill", "--pool", "emoji", "--missing")
    assert code == 0, output
    changed = {path for path, modified in project.modified_times().items() if before.get(path) != modified}
    assert {path.split("/")[0] for path in changed} == {"embeddings"}
    assert all("/00002." in path for path in changed)


def test_a_backfill_killed_half_way_goes_on_where_it_was(project: Project) -> None:
    arguments = ("backfill", "--pool", "emoji", "--from", "level_1", "--to", "level_3")
    first = facts_time(project, "level_1_clusters")
    kill_when(project, lambda: facts_time(project, "level_1_clusters") not in ("", first), *arguments)
    made_by_the_first = facts_time(project, "level_1_initial")
    selection = project.selection_bytes()
    code, output = project.run(*arguments)
    assert code == 0, output
    assert "resuming the rebuild started at" in output
    assert facts_time(project, "level_1_initial") == made_by_the_first
    assert facts_time(project, "level_3_assign", "00002") > made_by_the_first
    code, output = project.run("run", "--pool", "emoji")
    assert code == 0, output
    assert project.selection_bytes() == selection


def test_a_tree_that_did_not_record_its_rows_is_taken_over(project: Project) -> None:
    folder = Path(str(project.storage.folder))
    (folder / "fit_rows.json").unlink()
    for asset in ("tree", "drift"):
        shutil.rmtree(folder / asset)
    fitted = facts_time(project, "level_1_clusters")
    code, output = project.run("run", "--pool", "emoji")
    assert code == 0, output
    assert facts_time(project, "level_1_clusters") == fitted
    rows = project.storage.fit_rows()
    assert rows is not None
    assert (rows.n_rows, rows.reason) == (72, "first fit")


def test_a_killed_run_leaks_no_slot(project: Project) -> None:
    for shard in ("00000", "00001", "00002"):
        project.storage.output("embeddings", shard).path("facts.json").unlink()
    arguments = ("run", "--pool", "emoji")
    kill_when(project, lambda: bool(facts_time(project, "embeddings", "00000")), *arguments)
    with project.instance() as instance:
        held = instance.event_log_storage.get_concurrency_info("gpu").claimed_slots
        assert len(held) == 1, "the killed run still holds the slot"
    began = time.monotonic()
    code, output = project.run(*arguments)
    assert code == 0, output
    assert "1 interrupted run found; resuming" in output
    assert time.monotonic() - began < 60
    with project.instance() as instance:
        assert not instance.event_log_storage.get_concurrency_info("gpu").claimed_slots
