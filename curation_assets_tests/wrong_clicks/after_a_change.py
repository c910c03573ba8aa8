"""Wrong clicks on a pool whose level 2 was changed, or that ask for nonsense: none of them makes anything."""

from __future__ import annotations

from typing import Any

from curation_assets_tests.test_clicking import REMEDY
from curation_assets_tests.wrong_clicks.hand import SHARDS, Wrong, clicks

AGAIN: dict[str, Any] = {"again": True}
TAG = "curation/again"
CHOOSE = "choose partitions that exist in the launch dialog, or run the job emoji_curate"
HOW_AGAIN = "write `this-run` and then the steps to make again"

AFTER_A_CHANGE: dict[str, Wrong] = {
    "materialize the selection alone": clicks(REMEDY, "selection"),
    "materialize the report alone on the old tree": clicks(REMEDY, "curation_report"),
    "materialize the atlas alone on the old tree": clicks(REMEDY, "atlas"),
    "materialize the release alone on the old tree": clicks(REMEDY, "dataset_release"),
    "materialize one shard of the ledger": clicks(REMEDY, "ledger", shards=["00001"]),
    "materialize one shard of the dataset": clicks(REMEDY, "balanced_dataset", shards=["00001"]),
    "assign one shard to the old clusters": clicks(REMEDY, "level_2_assign", shards=["00001"]),
    "fit the level above alone": clicks(REMEDY, "level_3_clusters"),
    "skip one step of the changed level": clicks(REMEDY, "level_2_resampled", "level_2_clusters", "tree"),
    "tick `again` on a step whose inputs are stale": clicks(REMEDY, "selection", config=AGAIN),
    "run the job that draws without clustering": clicks(REMEDY, job="emoji_resample_targets", shards=SHARDS),
    "run the job of the level above": clicks(REMEDY, job="emoji_recluster_from_level_3", shards=SHARDS),
    "run the job that ingests": clicks(REMEDY, job="emoji_ingest_new_shards", shards=SHARDS),
    "run a check of the selection alone": clicks(
        "not checked: selection follows level_2_initial, which is out of date (n_clusters changed from 8 to 7): "
        + REMEDY,
        "selection",
        checks=["targets_are_exact"],
    ),
    "run the check of the ledger alone": clicks(
        "not checked: ledger follows", "ledger", checks=["ledger_adds_up"]
    ),
    "re-execute an old successful run": Wrong(REMEDY, lambda hand: hand.again(hand.old_run, "ALL_STEPS")),
    "re-execute from failure what did not fail": Wrong(
        "Cannot reexecute from failure a run that is not failed", lambda hand: hand.again(hand.old_run, "FROM_FAILURE")
    ),
    "materialize shards without choosing any": clicks(f"the run names none: {CHOOSE}", "raw_pool"),
    "run the job of everything without partitions": clicks(f"the run names none: {CHOOSE}", job="emoji_all"),
    "choose a range from the last shard to the first": clicks(
        f"the range of partitions 00002 to 00000 is empty: {CHOOSE}", "raw_pool", shards=["00002", "00000"]
    ),
    "choose the partition of a shard that is gone": clicks(
        f"the run asks for 00009, and not all of it is a shard of the pool: {CHOOSE}",
        "raw_pool",
        tags={"dagster/partition": "00009"},
    ),
    "choose a range that ends at a shard that is gone": clicks(
        "Nonexistent partition keys", "raw_pool", shards=["00000", "00009"]
    ),
    "backfill a partition that does not exist": Wrong(
        "could not be found", lambda hand: hand.backfill(["raw_pool"], ["00009"])
    ),
    "backfill assets of two pools": Wrong(
        "must have the same PartitionsDefinition",
        lambda hand: hand.backfill(["raw_pool", ["web", "raw_pool"]], SHARDS),
    ),
    "draw from a new pool before anything is made": clicks(
        "the files of pool 'web' have not been listed yet: run the job web_curate or `curation-assets run --pool web`",
        "embeddings",
        shards=SHARDS,
        pool="web",
    ),
    "give `again` a value that is no switch": clicks(
        'Value "maybe" of type', "selection", config={"again": "maybe"}
    ),
    "misspell `again` in the launch dialog": clicks(
        'unexpected config entry "agian"', "selection", config={"agian": True}
    ),
    "name a step to make again without `this-run`": clicks(
        f"but it names no step: {HOW_AGAIN}", "raw_pool", shards=SHARDS, tags={TAG: "selection"}
    ),
    "misspell a step to make again": clicks(
        f"but selectoin is not a step of the pool: {HOW_AGAIN}",
        "raw_pool",
        shards=SHARDS,
        tags={TAG: "this-run raw_pool selectoin"},
    ),
    "make steps again since a time that is none": clicks(
        f"but 'yesterday' is not a time: {HOW_AGAIN}",
        "raw_pool",
        shards=SHARDS,
        tags={TAG: "yesterday raw_pool"},
    ),
}  # fmt: skip
