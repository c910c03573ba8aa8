"""A level is changed and clustered again by clicking: what was chosen runs, in order, and nothing is left behind."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import dagster as dg
import pytest

from curation_assets.graph.base import Step
from curation_assets.graph.steps import pool_steps
from curation_assets_tests.asset_backfills import follow, upstream_of
from curation_assets_tests.projects import make_project
from curation_assets_tests.test_clicking import SHARDS, digests
from curation_assets_tests.ui.browser import Screen
from curation_assets_tests.ui.dev_server import WATCHED_POOL, DevServer, wait_for

pytestmark = pytest.mark.ui

FIRST = "level_2_initial"
CHANGED: dict[str, Any] = json.loads(json.dumps(WATCHED_POOL))
CHANGED["levels"][1]["n_clusters"] = 7
GRAPH = "/asset-groups~key:%22emoji%2F*%22?expanded=" + ",".join(
    f"global%40global%3Aemoji_{lane}" for lane in ("1_ingest", "2_hierarchy", "3_balance", "4_report")
)
CHOICE = f"/asset-groups~key:%22emoji%2F{FIRST}%22%2B"
_LONGEST_BACKFILL = 600
"""In seconds: the daemon looks every 30 s, and a run needs some seconds to start."""
STALE = "{ assetNodes { assetKey { path } staleStatus } }"
STATUS = """query Status($id: String!) { partitionBackfillOrError(backfillId: $id) {
  ... on PartitionBackfill { status }
} }"""


def test_a_level_is_clustered_again_by_clicking(
    screen: Screen, server: DevServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    page, project = screen.page, server.project
    page.set_viewport_size({"width": 1900, "height": 1100})
    steps = pool_steps(project.spec)
    chosen = follow(steps, FIRST)
    with server.instance() as instance:
        before = set(last_made(instance, steps).values())

    project.write_pool(CHANGED)
    screen.open(GRAPH)
    page.get_by_role("button", name="Reload definitions").click()
    page.get_by_text("Definitions reloaded").first.wait_for()
    screen.open(GRAPH)
    node = page.locator("svg foreignObject", has=page.get_by_text(FIRST, exact=True)).last
    node.wait_for()
    page.wait_for_load_state("networkidle")
    screen.keep("20_level_2_is_changed_and_reloaded")

    screen.open(CHOICE)
    page.get_by_role("button", name="Materialize all").click()
    dialog = page.get_by_role("dialog").filter(has_text=f"Launch runs to materialize {len(chosen)} assets")
    dialog.get_by_role("button", name="All", exact=True).click()
    dialog.get_by_text(f"{len(SHARDS)} partitions", exact=True).wait_for()
    screen.keep("21_the_dialog_with_all_partitions")
    dialog.get_by_role("button", name="Launch backfill").click()
    launched = page.get_by_role("link", name="View", exact=True)
    backfill = (launched.get_attribute("href") or "").rstrip("/").rpartition("/")[2]
    launched.click()
    page.wait_for_url(f"**/{backfill}*")
    page.get_by_text("In progress").first.wait_for()
    screen.keep("22_the_backfill_has_begun")
    state = wait_for("the backfill to end", lambda: ended(server, backfill), _LONGEST_BACKFILL, every=5)
    page.reload()
    page.get_by_text("Completed").first.wait_for()
    screen.keep("23_the_backfill_at_its_end")
    screen.open(GRAPH)
    node.wait_for()
    page.wait_for_load_state("networkidle")
    screen.keep("24_the_graph_afterwards")

    assert state == "COMPLETED_SUCCESS"
    with server.instance() as instance:
        made = last_made(instance, steps)
    fresh = {place: number for place, number in made.items() if number not in before}
    assert {name for name, _ in fresh} == set(chosen), "an asset was left out, or one too many has run"
    for (name, shard), number in fresh.items():
        for source in upstream_of(steps, name) & set(chosen):
            both = steps[source].partitioned and shard is not None
            earlier = (
                [fresh[source, shard]]
                if both
                else [at for (other, _), at in fresh.items() if other == source]
            )
            assert max(earlier) < number, f"{name} was made before {source}"
    stale = [node["assetKey"]["path"][-1] for node in server.graphql(STALE)["assetNodes"] if is_stale(node)]
    assert stale == []
    scratch = make_project(tmp_path_factory.mktemp("scratch"))
    scratch.write_pool(CHANGED)
    assert scratch.run("run", "--pool", "emoji")[0] == 0
    assert digests(project) == digests(scratch)


def ended(server: DevServer, backfill: str) -> str | None:
    """The status of a backfill that has ended."""
    found = str(server.graphql(STATUS, id=backfill)["partitionBackfillOrError"]["status"])
    return found if found.startswith(("COMPLETED", "FAILED", "CANCELED")) else None


def is_stale(node: dict[str, Any]) -> bool:
    """Whether the UI marks an asset, or one of its shards, as unsynced."""
    return bool(node["staleStatus"] == "STALE")


def last_made(instance: dg.DagsterInstance, steps: Mapping[str, Step]) -> dict[tuple[str, str | None], int]:
    """The number of the last materialization event of every output."""
    found: dict[tuple[str, str | None], int] = {}
    for name, step in steps.items():
        key = dg.AssetKey(["emoji", name])
        for shard in SHARDS if step.partitioned else [None]:
            chosen = dg.AssetRecordsFilter(key, asset_partitions=[shard] if shard else None)
            records = instance.fetch_materializations(chosen, limit=1).records
            if records:
                found[name, shard] = records[0].storage_id
    return found
