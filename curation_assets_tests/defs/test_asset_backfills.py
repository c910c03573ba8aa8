"""Asset backfills from every asset: what the daemon asks for, and in which order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from curation_assets.graph.base import Step
from curation_assets.graph.relations import direct_inputs
from curation_assets.graph.steps import pool_steps
from curation_assets_tests.asset_backfills import follow, upstream_of, walk, workspace_of
from curation_assets_tests.graph.test_steps import CLEANED
from curation_assets_tests.projects import SMALL_POOL, Project

SHARDS = ["a", "b", "c"]
POOLS: dict[str, dict[str, Any]] = {
    "plain": {},
    "cleaned": CLEANED,
    "one_level": {"levels": [{"n_clusters": 8}], "atlas": None},
}


@pytest.mark.parametrize("changes", POOLS.values(), ids=POOLS)
def test_a_backfill_from_any_asset_reaches_all_that_follows_in_the_right_order(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    project = Project(tmp_path)
    project.write_pool({**SMALL_POOL, **changes})
    project.home.dagster_state.mkdir(parents=True)
    (project.home.dagster_state / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    steps = pool_steps(project.spec)
    with project.instance() as instance, workspace_of(project, instance) as context:
        instance.add_dynamic_partitions("emoji_shards", SHARDS)
        for first in steps:
            chosen = follow(steps, first)
            partitions = [SHARDS, ["b"], None] if any(steps[name].partitioned for name in chosen) else [None]
            for keys in partitions:
                selection = [dg.AssetKey(["emoji", name]) for name in chosen]
                ticks, targeted = walk(context, instance, selection, keys)
                assert targeted == set(chosen), "Dagster left out assets that were chosen"
                _assert_in_order(steps, ticks, set(chosen))


def _assert_in_order(steps: dict[str, Step], ticks: list[list[dg.RunRequest]], chosen: set[str]) -> None:
    """Everything is asked for once, after all chosen assets upstream of it, or ordered by the edges of its run."""
    asked: set[str] = set()
    for runs in ticks:
        for run in runs:
            here = {key.path[-1] for key in run.asset_selection or ()}
            assert not here & asked
            for name in here:
                before = upstream_of(steps, name) & chosen
                ordered: set[str] = set()
                waiting = [name]
                while waiting:
                    sources = set(direct_inputs(steps, waiting.pop())) & here
                    waiting += sources - ordered
                    ordered |= sources
                assert before <= asked | ordered, f"{name} does not wait for {before - asked - ordered}"
        asked |= {key.path[-1] for run in runs for key in run.asset_selection or ()}
    assert asked == chosen
