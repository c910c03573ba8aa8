"""Wrong clicks after other edits of the pool's YAML, and between the runs of something that was begun."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import dagster as dg

from curation_assets.defs.jobs import build_jobs
from curation_assets.defs.pool_definitions import build_definitions
from curation_assets.defs.run.locks import only_runner
from curation_assets.defs.sensors import build_sensor
from curation_assets_tests.projects import SMALL_POOL
from curation_assets_tests.test_clicking import CHANGED, REMEDY
from curation_assets_tests.wrong_clicks.hand import SHARDS, Hand, Shown, Wrong

NOT_THERE = "no AssetsDefinition objects supply these keys"


def settings(**changes: Any) -> dict[str, Any]:
    return json.loads(json.dumps(SMALL_POOL)) | changes


def of_source(**changes: Any) -> dict[str, Any]:
    return settings(source=SMALL_POOL["source"] | changes)


def of_level(number: int, **changes: Any) -> dict[str, Any]:
    found = settings()
    found["levels"][number - 1] |= changes
    return found


def edited(given: Mapping[str, Any], says: str, *names: str, **how: Any) -> Wrong:
    """Edit the YAML, reload, then materialize assets one after the other."""

    def do(hand: Hand) -> Shown:
        hand.write(given)
        shown = Shown()
        for name in names or ("",):
            shown += hand.materialize(*filter(None, [name]), **how)
        return shown

    return Wrong(says, do, lambda hand: hand.write(SMALL_POOL))


def without_reload(given: Mapping[str, Any], says: str, name: str) -> Wrong:
    """Edit the YAML, and materialize an asset on the page that was open before."""

    def do(hand: Hand) -> Shown:
        assert hand.context
        hand.project.write_pool(dict(given))
        return hand.materialize(name)

    return Wrong(says, do, lambda hand: hand.write(SMALL_POOL))


def _sensor_of_a_broken_pool(hand: Hand) -> Shown:
    spec, home = hand.project.spec, hand.project.home
    sensor = build_sensor(spec, home, build_jobs(spec, home, build_definitions))
    hand.project.write_pool(settings(colour="red"))
    reason = sensor(dg.build_sensor_context(instance=hand.instance))
    assert isinstance(reason, dg.SkipReason)
    return Shown(errors=[reason.skip_message or ""])


def _terminated_midway(hand: Hand) -> Shown:
    hand.write(CHANGED)
    began = hand.materialize("level_2_initial", "level_2_resampled")
    assert not began.red
    return began + hand.materialize("selection")


def _edited_between_runs(hand: Hand) -> Shown:
    hand.write(CHANGED)
    began = hand.materialize("level_2_initial")
    assert not began.red
    hand.write(of_level(2, n_clusters=6))
    return hand.materialize("level_2_resampled", "level_2_clusters")


def _from_failure_with_other_settings(hand: Hand) -> Shown:
    hand.write(CHANGED)
    failed = hand.materialize(job="emoji_recluster_from_level_2", shards=["00001"])
    assert "drift reads level_2_assign of shard '00000', which is out of date" in failed.errors[0]
    hand.write(of_level(2, n_clusters=6))
    return hand.again(failed.run_ids[0], "FROM_FAILURE")


def _one_partition_with_all_that_follows(hand: Hand) -> Shown:
    hand.write(CHANGED)
    return hand.materialize(job="emoji_all", shards=["00001"])


def _two_runners(hand: Hand) -> Shown:
    with only_runner(hand.project.home, "emoji", "a test"):
        code, output = hand.project.run("run", "--pool", "emoji")
    return Shown(errors=[" ".join(output.split())] if code else [])


def _broken(do: Callable[[Hand], Shown]) -> Wrong:
    says = "unknown key colour (value 'red'); valid keys are: name, "

    def first(hand: Hand) -> Shown:
        hand.write(settings(colour="red"))
        return do(hand)

    return Wrong(says, first, lambda hand: hand.write(SMALL_POOL))


TARGETS = [{"name": "small", "size": 10}]
ON_SETTINGS: dict[str, Wrong] = {
    "draw more samples than there are": edited(
        settings(targets=[{"name": "small", "size": 500}]), "choose a size from 1 to 72", "selection"
    ),
    "fit more clusters than there are samples": edited(
        of_level(1, n_clusters=5000), "n_clusters is 5,000, but the pool has only 72 samples", "level_1_initial"
    ),
    "read a folder that does not exist": edited(
        of_source(path="data/raw/nowhere"), "create it or correct the path", "raw_pool", shards=SHARDS
    ),
    "read with a pattern that matches nothing": edited(
        of_source(pattern="*.zip"), "correct the pattern or add files", "raw_pool", shards=SHARDS
    ),
    "misspell a label": edited(
        of_source(label_fields=["subgruop"]),
        "no sample has the label subgruop of source.label_fields: correct the name",
        "raw_pool",
        shards=SHARDS,
    ),
    "switch deduplication on and draw": edited(
        settings(deduplication={"threshold": 0.95}), "selection reads admitted, which follows", "selection"
    ),
    "change the seed and draw": edited(
        settings(seed=5), "which is out of date (seed changed from 0 to 5)", "selection"
    ),
    "change a target and write one shard of the dataset": edited(
        settings(targets=TARGETS), "balanced_dataset reads selection", "balanced_dataset", shards=["00001"]
    ),
    "change a target and check the old draw": edited(
        settings(targets=TARGETS), "not checked: selection is out of date", "selection", checks=["targets_are_exact"]
    ),
    "change a target and draw again over one partition": edited(
        settings(targets=TARGETS),
        "dataset_release reads balanced_dataset of shard '00000', which is out of date",
        job="emoji_resample_targets",
        shards=["00001"],
    ),
    "change the outputs and release": edited(
        settings(outputs=["parquet"]), "dataset_release reads balanced_dataset of shard", "dataset_release"
    ),
    "remove a level and draw from the old tree": edited(
        settings(levels=SMALL_POOL["levels"][:2]), "selection comes after tree, which is out of date", "selection"
    ),
    "remove a level and materialize a partition of it": edited(
        settings(levels=SMALL_POOL["levels"][:2]), NOT_THERE, "level_3_assign", shards=["00001"]
    ),
    "remove a level and click on it without a reload": without_reload(
        settings(levels=SMALL_POOL["levels"][:2]), NOT_THERE, "level_3_clusters"
    ),
    "break the YAML and click without a reload": without_reload(settings(colour="red"), NOT_THERE, "selection"),
    "break the YAML, reload, click on the old page": edited(settings(colour="red"), NOT_THERE, "selection"),
    "materialize a broken pool": _broken(lambda hand: hand.materialize("broken_pool")),
    "run the check of a broken pool": _broken(
        lambda hand: hand.materialize("broken_pool", checks=["pool_file_is_valid"])
    ),
    "switch the sensor of a broken pool on": Wrong(
        "cannot be read any more", _sensor_of_a_broken_pool, lambda hand: hand.write(SMALL_POOL)
    ),
    "stop a run midway and draw": Wrong(
        "selection reads level_2_clusters, which is out of date (n_clusters changed from 8 to 7; inputs",
        _terminated_midway,
    ),
    "edit the YAML between the runs of a backfill": Wrong(
        REMEDY, _edited_between_runs
    ),
    "re-execute from failure with other settings": Wrong(REMEDY, _from_failure_with_other_settings),
    "backfill one partition with all that follows": Wrong(
        "drift reads level_2_assign of shard '00000', which is out of date", _one_partition_with_all_that_follows
    ),
    "run the pool twice at once": Wrong("is already being run by process", _two_runners),
}  # fmt: skip
