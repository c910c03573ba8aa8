"""The UI that `make dev` opens, used as people use it: `make test-ui`.

CURATION_SCREENSHOTS names the folder of the pictures; without it they go to a temporary one. The tests share one
server and build on each other: they run in the order written.
"""

from __future__ import annotations

import itertools
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from curation_assets.defs.run.tags import POOL_TAG
from curation_assets.defs.sensors import sensor_name
from curation_assets.demo.openmoji import write_openmoji_pool
from curation_assets.graph.steps import pool_steps
from curation_assets_tests.projects import materialized
from curation_assets_tests.ui.browser import Box, Screen, box_of
from curation_assets_tests.ui.dev_server import DevServer, wait_for

if TYPE_CHECKING:
    from playwright.sync_api import Locator

pytestmark = pytest.mark.ui

LANES = ["emoji_1_ingest", "emoji_2_hierarchy", "emoji_3_balance", "emoji_4_report"]
LOCATION = "curation_assets"
SENSOR = sensor_name("emoji")
SENSOR_PAGE = f"/locations/{LOCATION}/sensors/{SENSOR}"
SMALLEST_LETTERS = 7.0
"""Height in CSS pixels that the names of the graph must have at least, when the side panels are closed."""


# --- the graph -------------------------------------------------------------------------------------------------

GROUPS = "{ assetNodes { assetKey { path } groupName } }"


def test_the_graph_is_grouped_into_lanes_and_every_name_is_readable(
    screen: Screen, server: DevServer
) -> None:
    page = screen.page
    expanded = ",".join(f"global%40global%3A{lane}" for lane in LANES)
    screen.open(f"/asset-groups~key:%22emoji%2F*%22?expanded={expanded}")
    for lane in LANES:
        lane_of(screen, lane).wait_for()
    lane_of_asset = {
        node["assetKey"]["path"][-1]: node["groupName"] for node in server.graphql(GROUPS)["assetNodes"]
    }
    assert set(lane_of_asset) == set(pool_steps(server.project.spec))
    assert set(lane_of_asset.values()) == set(LANES)
    for asset in lane_of_asset:
        name_of(screen, asset).wait_for()
    screen.keep("1_graph_as_opened")

    page.get_by_text("Hide navigation").click()
    page.locator("button:has([aria-label='panel_show_right'])").click()
    page.mouse.dblclick(950, 750)  # on the background: fits the graph into the window
    window = Box(0, 0, *page.viewport_size.values())  # type: ignore[union-attr]
    wait_for("the wider graph", lambda: letters_of(screen, "raw_pool") >= SMALLEST_LETTERS, 10, every=0.1)
    lanes = {lane: settled_box(lane_of(screen, lane)) for lane in LANES}
    screen.keep("2_graph")

    *_, balance, report = LANES
    for left, right in itertools.pairwise(LANES[:-1]):
        assert lanes[left].right <= lanes[right].left, f"{left} is not left of {right}"
    # The report hangs on the ledger, so its lane lies above the end of the one with the release.
    assert lanes[balance].left < lanes[report].left, "the report begins left of the balance"
    assert not lanes[balance].meets(lanes[report]), "the report is drawn over the balance"
    for asset, lane in lane_of_asset.items():
        assert lanes[lane].holds(box_of(node_of(screen, asset))), f"{asset} is not drawn in {lane}"
    for name in [*LANES, *lane_of_asset]:
        assert window.holds(box_of(name_of(screen, name))), f"{name} is outside of the window"
        assert not is_cut(name_of(screen, name)), f"{name} is cut off"
        assert letters_of(screen, name) >= SMALLEST_LETTERS, f"{name} is too small"
    drawn = " ".join(page.locator("svg foreignObject").all_text_contents())
    assert "…" not in drawn, drawn


def name_of(screen: Screen, name: str) -> Locator:
    """The words of a lane or asset in the graph."""
    return screen.page.locator("svg foreignObject").get_by_text(name, exact=True).filter(visible=True)


def lane_of(screen: Screen, lane: str) -> Locator:
    return screen.page.locator("svg foreignObject.group", has=screen.page.get_by_text(lane, exact=True))


def node_of(screen: Screen, asset: str) -> Locator:
    return screen.page.locator(
        "svg foreignObject:not(.group)", has=screen.page.get_by_text(asset, exact=True)
    )


def settled_box(locator: Locator) -> Box:
    """Where an element is drawn once it stands still."""
    seen: list[Box] = []

    def look() -> Box | None:
        seen.append(box_of(locator))
        return seen[-1] if seen[-2:-1] == seen[-1:] else None

    return wait_for("the drawing to stand still", look, 10, every=0.2)


def letters_of(screen: Screen, name: str) -> float:
    """Font size of a name as drawn, in CSS pixels."""
    scale = "element.getBoundingClientRect().width / element.offsetWidth"
    return float(
        name_of(screen, name).evaluate(f"element => parseFloat(getComputedStyle(element).fontSize) * {scale}")
    )


def is_cut(name: Locator) -> bool:
    """Whether the words are wider than what they stand in."""
    return bool(
        name.evaluate(
            """element => {
              const words = document.createRange();
              words.selectNodeContents(element);
              const drawn = words.getBoundingClientRect();
              const place = element.closest("foreignObject").getBoundingClientRect();
              const outside = drawn.left < place.left - 1 || drawn.right > place.right + 1;
              return outside || element.scrollWidth > element.clientWidth;
            }"""
        )
    )


# --- a shard by clicking ---------------------------------------------------------------------------------------


def test_the_partition_of_a_shard_is_materialized_by_clicking(screen: Screen, server: DevServer) -> None:
    page, shard = screen.page, "00001"
    with server.instance() as instance:
        before = storage_ids(instance, "raw_pool", shard)
    screen.open("/assets/emoji/raw_pool")
    page.get_by_role("button", name="Materialize", exact=False).first.click()
    dialog = page.get_by_role("dialog").filter(has_text="Launch runs to materialize")
    dialog.get_by_text("Select a partition").click()
    search = page.get_by_placeholder("Filter partitions")
    choices = page.get_by_role("dialog").filter(has=search).last
    choices.get_by_text(shard, exact=True).filter(visible=True).click()
    screen.keep("3_choose_a_shard")
    page.keyboard.press("Escape")
    search.wait_for(state="hidden")
    dialog.get_by_text("1 partition", exact=True).wait_for()
    screen.keep("4_one_shard_chosen")
    dialog.get_by_role("button", name="Launch 1 run").click()

    launched = page.get_by_role("link", name="View", exact=True)
    run_id = (launched.get_attribute("href") or "").rpartition("/")[2]
    launched.click()
    page.wait_for_url(f"**/runs/{run_id}*")
    page.get_by_text("Success", exact=True).first.wait_for(timeout=90_000)
    screen.keep("5_run_of_one_shard")
    screen.open("/runs")
    row_of_run(screen, run_id).get_by_text("Success", exact=True).wait_for()
    screen.keep("6_runs_after_the_click")

    with server.instance() as instance:
        run = instance.get_run_by_id(run_id)
        assert run is not None
        assert run.status == dg.DagsterRunStatus.SUCCESS
        assert materialized(instance, [run_id]) == {("raw_pool", shard)}
        assert len(storage_ids(instance, "raw_pool", shard) - before) == 1


def storage_ids(instance: dg.DagsterInstance, asset: str, shard: str) -> set[int]:
    """Every materialization of a shard there is."""
    chosen = dg.AssetRecordsFilter(dg.AssetKey(["emoji", asset]), asset_partitions=[shard])
    return {record.storage_id for record in instance.fetch_materializations(chosen, limit=100).records}


def row_of_run(screen: Screen, run_id: str) -> Locator:
    """A run in the list of runs."""
    page = screen.page
    return page.locator("[class*=RunsFeedRow_rowGrid]", has=page.get_by_text(run_id[:8], exact=True))


# --- the sensor ------------------------------------------------------------------------------------------------

TICKS = """query Ticks($selector: SensorSelector!) { sensorOrError(sensorSelector: $selector) { ... on Sensor {
  sensorState { status ticks(limit: 100) { status skipReason timestamp runIds error { message } } }
} } }"""


def test_the_sensor_is_switched_on_and_curates_a_dropped_file(
    screen: Screen, server: DevServer, tmp_path: Path
) -> None:
    page, storage = screen.page, server.project.storage
    page.set_viewport_size({"width": 1900, "height": 1100})  # rows outside of the window are not drawn
    screen.open(SENSOR_PAGE)
    switch(screen).wait_for()
    assert sensor_state(server)["status"] == "STOPPED"
    switch(screen).click()
    wait_for("the sensor", lambda: sensor_state(server)["status"] == "RUNNING", 30)
    wait_for("a tick", lambda: at_rest(server), 60)
    last_tick = page.get_by_role("button", name="0 runs requested", exact=True).first
    screen.open(SENSOR_PAGE)
    last_tick.wait_for()
    screen.keep("7_sensor_on")

    drop_shard(server, "00003", tmp_path)
    run_ids = wait_for("a tick that finds everything up to date again", lambda: finished_runs(server), 240)

    screen.open(SENSOR_PAGE)
    last_tick.wait_for()
    screen.keep("8_sensor_after_the_drop")
    last_tick.click()
    reason = page.get_by_role("dialog").filter(has_text=re.compile(r"Skip reason:\s*up to date"))
    reason.wait_for()
    screen.keep("9_why_the_last_tick_ran_nothing")
    screen.open(f"/runs?q[0]=tag%3Adagster%2Fsensor_name%3D{SENSOR}")
    for run_id in run_ids:
        row_of_run(screen, run_id).get_by_text("Success", exact=True).wait_for()
        row_of_run(screen, run_id).get_by_text(SENSOR, exact=True).filter(visible=True).wait_for()
    screen.keep("10_runs_of_the_sensor")

    with server.instance() as instance:
        runs = instance.get_runs(dg.RunsFilter(tags={"dagster/sensor_name": SENSOR}))
        made = materialized(instance, run_ids)
    assert {run.run_id for run in runs} == set(run_ids)
    assert {run.status for run in runs} == {dg.DagsterRunStatus.SUCCESS}
    assert {run.tags[POOL_TAG] for run in runs} == {"emoji"}
    assert {("raw_pool", "00003"), ("ledger", "00003"), ("balanced_dataset", "00003")} <= made
    assert ("curation_report", None) in made
    assert "level_1_clusters" not in {asset for asset, _ in made}, "the tree was fitted again"
    assert storage.output("ledger", "00003").require_facts().summary["n_rows"] == 12
    assert storage.output("balanced_dataset", "00003").facts() is not None

    screen.open(SENSOR_PAGE)
    switch(screen).click()
    wait_for("the sensor to stop", lambda: sensor_state(server)["status"] == "STOPPED", 30)
    page.get_by_role("row").filter(has_text="Running").locator("input:not(:checked)").wait_for(
        state="attached"
    )
    screen.keep("11_sensor_off")


def switch(screen: Screen) -> Locator:
    """The switch of the sensor's page."""
    return screen.page.get_by_role("row").filter(has_text="Running").locator("label")


def sensor_state(server: DevServer) -> dict[str, Any]:
    """Whether the sensor is on, and its ticks, the last one first."""
    selector = {
        "repositoryLocationName": LOCATION,
        "repositoryName": "__repository__",
        "sensorName": SENSOR,
    }
    state: dict[str, Any] = server.graphql(TICKS, selector=selector)["sensorOrError"]["sensorState"]
    failed = [tick["error"]["message"] for tick in state["ticks"] if tick["error"]]
    assert not failed, failed
    return state


def at_rest(server: DevServer) -> bool:
    """Whether the last tick found nothing to do."""
    ticks = sensor_state(server)["ticks"]
    return bool(ticks) and ticks[0]["skipReason"] == "up to date"


def drop_shard(server: DevServer, name: str, workshop: Path) -> None:
    """Twelve drawings that the pool does not have yet, put there as a download would: written, then renamed."""
    new = write_openmoji_pool(workshop / "more", samples_per_shard=12, limit=84)[-1]
    pool = server.project.folder / "data" / "raw" / "emoji"
    shutil.copy(new, pool / f"{name}.part")
    (pool / f"{name}.part").rename(pool / f"{name}.tar")


def finished_runs(server: DevServer) -> list[str]:
    """The runs that the sensor asked for, once it asks for no more; nothing before."""
    run_ids = [run_id for tick in sensor_state(server)["ticks"] for run_id in tick["runIds"]]
    with server.instance() as instance:
        runs = [instance.get_run_by_id(run_id) for run_id in run_ids]
    failed = [run.run_id for run in runs if run and run.status == dg.DagsterRunStatus.FAILURE]
    assert not failed, f"runs of the sensor failed: {failed}, see {server.log}"
    return run_ids if at_rest(server) else []


# --- checks and plots ------------------------------------------------------------------------------------------

CHECKS = """query Checks($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
  assetChecksOrError { ... on AssetChecks { checks {
    name executionForLatestMaterialization { status evaluation { success severity } }
  } } }
} } }"""


@pytest.mark.parametrize(
    ("asset", "known"),
    [
        ("selection", {"targets_are_exact", "no_cluster_dominates"}),
        ("ledger", {"ledger_adds_up"}),
        ("comparison", {"beats_baselines"}),
    ],
)
def test_the_checks_show_with_their_results(
    screen: Screen, server: DevServer, asset: str, known: set[str]
) -> None:
    page = screen.page
    answer = server.graphql(CHECKS, key={"path": ["emoji", asset]})
    checks = answer["assetNodeOrError"]["assetChecksOrError"]["checks"]
    runs = {check["name"]: check["executionForLatestMaterialization"] for check in checks}
    assert all(runs.values()), f"checks that never ran: {[name for name, run in runs.items() if not run]}"
    results = {name: run["evaluation"] for name, run in runs.items()}
    assert known <= set(results)
    failed = [name for name, result in results.items() if not result["success"]]
    assert not [name for name in failed if results[name]["severity"] == "ERROR"]

    screen.open(f"/assets/emoji/{asset}")
    page.get_by_text("Latest check results").wait_for()
    page.get_by_role("tab", name="Checks").click()
    page.get_by_text(f"Checks ({len(checks)})").wait_for()
    for name, result in results.items():
        row = page.locator("[class*=AssetChecks_checkRow]", has=page.get_by_text(name, exact=True))
        row.get_by_text("Succeeded" if result["success"] else "Failed", exact=True).wait_for()
    screen.keep(f"12_checks_of_{asset}")


@pytest.mark.parametrize(
    ("asset", "key"),
    [
        ("selection", "start_level_quotas_in_samples"),
        ("level_1_initial", "cluster_sizes"),
        ("level_1_clusters", "inertia_curve"),
    ],
)
def test_word_sized_plots_show_in_place(screen: Screen, asset: str, key: str) -> None:
    screen.open(f"/assets/emoji/{asset}")
    image = screen.picture(row_of_metadata(screen, key))
    assert (image.get_attribute("src") or "").startswith("data:image/svg+xml")
    image.evaluate("image => image.scrollIntoView({block: 'center'})")
    screen.keep(f"13_{asset}_{key}")


@pytest.mark.parametrize(
    ("asset", "key"),
    [
        ("level_1_clusters", "inertia_plot"),
        ("curation_report", "random_sample"),
        ("curation_report", "balanced_sample"),
        ("curation_report", "comparison"),
        ("curation_report", "cluster_sizes"),
        ("curation_report", "label_balance"),
    ],
)
def test_pictures_show_whole_in_a_dialog(screen: Screen, asset: str, key: str) -> None:
    screen.open(f"/assets/emoji/{asset}")
    row_of_metadata(screen, key).get_by_text("[Show Markdown]").click()
    dialog = screen.page.get_by_role("dialog")
    image = screen.picture(dialog)
    room = settled_box(dialog)
    screen.keep(f"14_{asset}_{key}")
    # Below the window one can scroll to; what is right of the dialog cannot be seen at all.
    assert box_of(image).right <= room.right, f"{key} is cut off on the right"


def test_the_link_of_the_report_opens_it(screen: Screen) -> None:
    screen.open("/assets/emoji/curation_report")
    link = row_of_metadata(screen, "open").get_by_role("link").first
    with screen.page.context.expect_page() as opened:
        link.click()
    report = opened.value
    report.get_by_role("heading", name="emoji").first.wait_for()
    assert report.url.startswith("http://127.0.0.1:")
    assert row_of_metadata(screen, "verdicts/small").count() == 1


def row_of_metadata(screen: Screen, key: str) -> Locator:
    """An entry of the table of metadata."""
    page = screen.page
    return page.get_by_role("row").filter(has=page.get_by_role("cell", name=key, exact=True))
