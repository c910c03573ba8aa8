"""The scenario of a growing pool: looks of the sensor, their runs carried out, and exactly what those touched."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
import pytest

from curation_assets.defs.run.arrivals import Unsettled
from curation_assets.defs.run.driver import Driver
from curation_assets.defs.watch import Attempt, Cursor
from curation_assets.storage.outputs import FACTS
from curation_assets.storage.trees import TreeArchive
from curation_assets_tests.growing import GROWING_POOL, GrowingPool, make_growing_pool, tar_of_another_world
from curation_assets_tests.projects import materialized

INGEST = ["raw_pool", "embeddings", "level_1_assign", "level_2_assign", "level_3_assign"]
FITS = {
    "level_1_initial", "level_1_resampled", "level_1_clusters", "level_2_initial", "level_2_resampled",
    "level_2_clusters", "level_3_clusters",
}  # fmt: skip


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GrowingPool]:
    """Ten shards, curated; the tests of this module grow it one after the other."""
    with dg.DagsterInstance.ephemeral() as instance:
        growing = make_growing_pool(tmp_path_factory.mktemp("growing"), instance, n_parts=16)
        for number in range(10):
            growing.drop(f"{number:05}", growing.tar(number))
        looks, made = growing.follow()
        assert made["raw_pool"] == made["ledger"] == {f"{number:05}" for number in range(10)}
        assert looks[-1].summary == "up to date"
        yield growing


def selected(pool: GrowingPool) -> bytes:
    return pool.project.selection_bytes()


def latest_check(pool: GrowingPool, asset: str, name: str) -> dg.AssetCheckEvaluation:
    key = dg.AssetCheckKey(dg.AssetKey(["emoji", asset]), name)
    [record] = pool.instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
    assert record.evaluation is not None
    return record.evaluation


def test_only_what_arrived_changed_or_went_is_touched(pool: GrowingPool) -> None:
    version = pool.project.storage.output("tree").require_facts().summary["tree_version"]
    pool.drop("00010", pool.tar(10))
    pool.drop("00011", pool.tar(11))
    pool.drop("00003", pool.tar(12))
    (pool.folder / "00005.tar").unlink()
    half = pool.tar(13)
    pool.drop("00012", half[: len(half) // 2])
    before = pool.instance.get_run_ids()
    looks, made = pool.follow()
    assert "2 new (00010, 00011), 1 changed (00003), 1 gone (00005)" in looks[0].summary
    assert looks[0].request is not None
    assert looks[0].request.job_name == "emoji_curate"
    assert len(looks) == 2, "one run does all that is due"
    parents = pool.instance.get_runs(dg.RunsFilter(job_name="emoji_curate"))
    [parent] = [run for run in parents if run.run_id not in before]
    assert parent.status == dg.DagsterRunStatus.SUCCESS
    first, second, *_, last = pool.waves(parent.run_id)
    reasons = [run.tags["curation/reason"] for run in (first, second)]
    assert reasons == ["input source changed (1)", "not made yet (2)"], "each run its own shards' reason"
    assert first.tags["curation/wave"] == second.tags["curation/wave"] == "1: raw_pool … level_3_assign"
    assert last.tags["curation/wave"].endswith(" … curation_report")
    assert looks[-1].summary == "up to date; waiting for 00012.tar (not complete yet)"
    for step in INGEST:
        assert made[step] == {"00003", "00010", "00011"}, step
    assert not FITS & made.keys()
    assert made["selection"] == {None}
    assert set(pool.instance.get_dynamic_partitions("emoji_shards")) == {
        f"{number:05}" for number in (0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11)
    }
    table = pool.project.storage.output("selection").table("selected.parquet")
    assert "00005" not in table["shard"].to_list()
    assert {"00010", "00011"} & set(table["shard"])
    # Every output names the tree it came from, and the tree stands.
    for output in (
        pool.project.storage.output("level_3_assign", "00010"),
        pool.project.storage.output("selection"),
        pool.project.storage.output("ledger", "00010"),
    ):
        assert output.require_facts().summary["tree_version"] == version


def test_the_drift_of_a_shard_shows_on_its_partition(pool: GrowingPool) -> None:
    key = dg.AssetKey(["emoji", "embeddings"])
    records = pool.instance.fetch_observations(dg.AssetRecordsFilter(key), limit=10).records
    seen = {record.partition_key for record in records}
    assert seen == {"00003", "00010", "00011"}
    observation = records[0].asset_observation
    assert observation is not None
    assert 0 <= observation.metadata["drift/score"].value < 0.5  # type: ignore[operator]


def test_the_selection_is_that_of_assigning_and_drawing_from_scratch(pool: GrowingPool) -> None:
    grown = selected(pool)
    storage = pool.project.storage
    for level in (1, 2, 3):
        for shard in storage.shards():
            storage.output(f"level_{level}_assign", shard.key).path(FACTS).unlink()
    storage.output("selection").path(FACTS).unlink()
    pool.cursor = Cursor()
    _, made = pool.follow()
    assert not FITS & made.keys()
    assert len(made["level_1_assign"]) == 11
    assert selected(pool) == grown


def test_output_shards_without_a_changed_row_are_not_written_again(pool: GrowingPool) -> None:
    storage = pool.project.storage
    before = {
        shard.key: storage.output("balanced_dataset", shard.key).require_facts() for shard in storage.shards()
    }
    pool.drop("00012", pool.tar(13))
    looks, made = pool.follow()
    assert looks[-1].summary == "up to date"
    for step in INGEST:
        assert made[step] == {"00012"}
    parts = storage.output("selection").require_facts().parts
    rewritten = {key for key, facts in before.items() if facts.inputs["selection"] != parts[key]}
    assert made["balanced_dataset"] == rewritten | {"00012"}
    assert len(rewritten) < len(before)
    for key in before.keys() - rewritten:
        assert storage.output("balanced_dataset", key).require_facts().made_at == before[key].made_at


def test_more_shards_than_one_run_takes_in_are_left_for_the_next(pool: GrowingPool) -> None:
    pool.project.write_pool({**GROWING_POOL, "watch": {"shards_per_run": 1}})
    pool.drop("00015", pool.tar(15))
    pool.drop("00016", pool.tar(13))
    first = pool.look()
    assert first.request is not None
    assert first.request.run_config["ops"]["emoji_run"]["config"]["shards"] == ["00015"]
    made = materialized(pool.instance, [pool.carry_out(first).run_id])
    assert made == {(step, "00015") for step in INGEST}
    second = pool.look()
    assert second.request is not None
    assert second.request.run_config["ops"]["emoji_run"]["config"]["shards"] == [], "and all that follows"
    for name in ("00015", "00016"):
        (pool.folder / f"{name}.tar").unlink()
    pool.project.write_pool(GROWING_POOL)
    for _ in range(2):
        look = pool.look()
        assert look.request is None
        assert "have left the listing at once (of 2 of " in look.summary
        assert "shards: 00015, 00016), more than source.max_gone_share: 0.1" in look.summary
        assert "--accept-removals" in look.summary
    driver = Driver(pool.project.home, pool.project.spec, pool.instance)
    assert driver.take_in_files(accept_removals=True)[0].endswith("2 gone (00015, 00016)")
    looks, made = pool.follow()
    assert not made
    assert looks[-1].summary == "up to date"


def test_a_file_still_moving_is_left_alone(pool: GrowingPool) -> None:
    pool.drop("00013", pool.tar(14), age=2)
    look = pool.look()
    assert look.request is None
    assert "00013.tar (size or time still changing)" in look.summary
    # It grows on: the wait starts again.
    pool.drop("00013", pool.tar(14) + bytes(1024), age=0)
    pool.now += 9
    assert "still changing" in pool.look().summary
    pool.now += 2
    _, made = pool.follow()
    assert made["raw_pool"] == {"00013"}


def test_a_shard_like_the_others_does_not_drift_and_one_of_another_world_leads_to_a_refit(
    pool: GrowingPool,
) -> None:
    check = latest_check(pool, "drift", "shards_resemble_the_fit")
    assert check.passed
    summary = pool.project.storage.output("drift").require_facts().summary
    assert summary["decision"] == "assign and re-select"
    assert summary["drift_score"] < 0.3
    before = pool.project.storage.output("tree").require_facts().summary["tree_version"]
    old_clusters = pl.concat(
        [
            pool.project.storage.output("level_1_assign", f"{n:05}").table("parquet", ["cluster"])
            for n in (0, 1)
        ]
    )["cluster"]
    pool.drop("00099", tar_of_another_world())
    looks, made = pool.follow()
    assert len(looks) == 2, "one run assigns the shard, sees that it drifts, and refits"
    [parent] = pool.instance.get_runs(dg.RunsFilter(job_name="emoji_curate"), limit=1)
    told = [log.message for log in pool.instance.all_logs(parent.run_id)]
    assert any("refit from level 1: drift of shard 00099" in line for line in told)
    assert made.keys() >= FITS
    history = TreeArchive(pool.project.storage).history()
    assert [record.version for record in history][-2:-1] == [before]
    assert "drift of shard 00099" in history[-1].reason
    # The old tree stays readable, and says where its rows were.
    archived = TreeArchive(pool.project.storage).storage(before)
    then = pl.concat(
        [archived.output("level_1_assign", f"{n:05}").table("parquet", ["cluster"]) for n in (0, 1)]
    )["cluster"]
    assert then.equals(old_clusters)
    assert archived.output("level_1_clusters").array("centroids.npy").shape[0] == 20
    # The map counts every row that both trees hold: those of 00099 were assigned to the old one first.
    mapped = pool.project.storage.output("tree").table("level_1_map.parquet")
    assert mapped["n_rows"].sum() == 14 * pool.shard_size
    shares = mapped.group_by("old_cluster").agg(pl.col("share_of_old").sum())["share_of_old"]
    assert np.allclose(shares, 1.0)


def test_under_never_the_check_names_the_shard_and_the_tree_stays(pool: GrowingPool) -> None:
    pool.project.write_pool({**GROWING_POOL, "refit": "never"})
    # White noise: neither a drawing nor one of the black images, which are part of the tree by now.
    pool.drop("00098", tar_of_another_world(brightest=256))
    looks, made = pool.follow()
    assert not FITS & made.keys()
    check = latest_check(pool, "drift", "shards_resemble_the_fit")
    assert not check.passed
    assert "00098" in (check.description or "")
    assert looks[-1].summary == "up to date"


def test_a_failing_shard_is_set_aside_and_tried_again_later(pool: GrowingPool) -> None:
    # A broken link cannot be read, nor is it ever closed: it is not waited for.
    pool.project.write_pool(
        {**GROWING_POOL, "refit": "never", "watch": {"unclosed_seconds": 0, "retry_seconds": 1000}}
    )
    (pool.folder / "00020.tar").symlink_to(pool.folder / "nowhere")
    assert "00020.tar (size or time still changing)" in pool.look().summary
    pool.now += 11
    pool.drop("00014", pool.tar(15))
    looks, made = pool.follow()
    assert made["raw_pool"] == {"00014"}
    assert looks[-1].summary == "up to date; waiting for 00020 (failed once)"
    aside = {shard.key: shard.set_aside for shard in pool.project.storage.all_shards() if shard.set_aside}
    assert aside == {"00020": "failed once"}
    assert pool.look().request is None, "not before its time"
    pool.now += 1001
    again = pool.look()
    result = pool.carry_out(again)
    [failure] = [event for event in result.all_events if event.is_step_failure]
    description = failure.step_failure_data.user_failure_data
    assert description is not None
    assert "emoji__raw_pool failed: 1 of 1 shards failed" in (description.description or "")
    assert [run.tags["dagster/asset_partition_range_start"] for run in pool.waves(result.run_id)] == ["00020"]
    pool.now += 1100
    assert "failed 2 times" in pool.look().summary
    pool.now += 1100
    assert pool.look().request is None, "the second wait is twice as long"
    # Mended: another content is another attempt, at once.
    (pool.folder / "00020.tar").unlink()
    pool.drop("00020", tar_of_another_world(7))
    _, made = pool.follow()
    assert made["raw_pool"] == {"00020"}
    assert not pool.cursor.attempts


def test_a_step_that_fails_is_not_requested_at_every_tick(pool: GrowingPool) -> None:
    # Without the probe, which draws subsets of the targets too and would fail in the same wave.
    settings = {"refit": "never", "probe": None, "targets": [{"name": "small", "size": 10_000}]}
    pool.project.write_pool({**GROWING_POOL, **settings})
    look = pool.look()
    result = pool.carry_out(look)
    assert not result.success
    [wave] = pool.waves(result.run_id)
    assert {key.path[-1] for key in wave.asset_selection or ()} == {"selection", "comparison"}
    pool.now += 30
    assert "selection failed once: next try in 30 s" in pool.look().summary
    pool.now += 31
    assert pool.look().request
    pool.project.write_pool({**GROWING_POOL, "refit": "never"})
    looks, _ = pool.follow()
    assert looks[-1].summary == "up to date"


def test_a_tick_waits_for_runs_and_for_the_command_line(pool: GrowingPool) -> None:
    from curation_assets.defs.run.locks import only_runner

    with only_runner(pool.project.home, "emoji", "a test"):
        assert "pool 'emoji' is already being run by process" in pool.look().summary
    run = pool.instance.create_run_for_job(
        _job, tags={"curation/pool": "emoji"}, status=dg.DagsterRunStatus.STARTED
    )
    assert pool.look().summary.startswith(f"run {run.run_id[:8]} is in progress")
    pool.instance.report_run_failed(pool.instance.get_run_by_id(run.run_id))  # type: ignore[arg-type]
    assert pool.look().summary == "up to date"


@dg.job
def _job() -> None: ...


def test_a_pool_that_cannot_be_listed_is_a_reason_not_a_crash(pool: GrowingPool) -> None:
    hidden = pool.folder.with_name("elsewhere")
    pool.folder.rename(hidden)
    assert pool.look().summary.startswith("the files of the pool cannot be listed: source.path is")
    hidden.rename(pool.folder)
    assert pool.look().summary == "up to date"
    assert len(pool.project.storage.shards()) > 10


def test_a_cursor_survives_its_text_and_nonsense_is_a_fresh_one() -> None:
    cursor = Cursor({"a.tar": Unsettled("1/2", 5.0, "why")}, {"shard:a": Attempt("x", 2, 7.0)}, "quiet", 9.0)
    assert Cursor.read(cursor.text()) == cursor
    for text in (None, "", "[]", "{not json", '{"attempts": {"a": [1, 2, 3, 4, 5, 6]}}'):
        assert Cursor.read(text) == Cursor()


def test_waits_double_up_to_a_day() -> None:
    assert Attempt("x", 0, 100.0).waits_until(60) == 100
    assert [Attempt("x", n, 0.0).waits_until(60) for n in (1, 2, 3)] == [60, 120, 240]
    assert Attempt("x", 40, 0.0).waits_until(60) == 86_400


def test_the_sensor_ends_every_tick_in_a_run_or_a_reason(pool: GrowingPool) -> None:
    from curation_assets.defs.jobs import build_jobs
    from curation_assets.defs.pool_definitions import build_definitions
    from curation_assets.defs.sensors import build_sensor

    spec, home = pool.project.spec, pool.project.home
    sensor = build_sensor(spec, home, build_jobs(spec, home, build_definitions))
    context = dg.build_sensor_context(instance=pool.instance, cursor=pool.cursor.text())
    result = sensor(context)
    assert isinstance(result, dg.SkipReason)
    assert result.skip_message == "up to date"
    path = pool.folder / "00000.tar"
    os.utime(path, (time.time() - 100, time.time() - 100))
    result = sensor(dg.build_sensor_context(instance=pool.instance, cursor=context.cursor))
    assert isinstance(result, dg.SensorResult)
    [request] = result.run_requests or ()
    assert request.job_name == "emoji_curate"
    assert request.run_config["ops"]["emoji_run"]["config"] == {
        "list_files": False,
        "shards": [],
        "accept_removals": False,
    }
    assert "1 changed (00000)" in request.tags["curation/reason"]


def test_many_files_that_wait_are_not_in_the_cursor(tmp_path: Path) -> None:
    work_file = tmp_path / "arrivals" / "p.json"
    cursor = Cursor({f"{i}.jpg": Unsettled("1/2", 5.0, "why") for i in range(1_001)})
    text = cursor.text(work_file)
    assert len(text) < 200
    assert Cursor.read(text, work_file) == cursor
    work_file.write_text("{}")
    assert Cursor.read(text, work_file) == Cursor(), "they wait anew"
    assert Cursor.read(text) == Cursor()
