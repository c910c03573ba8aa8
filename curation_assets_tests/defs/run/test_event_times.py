"""Every partition's event has a millisecond of its own, so that the Events tab shows all of them."""

from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.defs.run.event_log import open_instance
from curation_assets.defs.run.event_times import EventTimes, spread_out

KEYS = [f"{i:03}" for i in range(40)]
SHARDS = dg.DynamicPartitionsDefinition(name="shards")
RANGE = {"dagster/asset_partition_range_start": KEYS[0], "dagster/asset_partition_range_end": KEYS[-1]}
PAGE_SIZE = 15


def facts(at: float) -> Any:
    return SimpleNamespace(made_at=datetime.fromtimestamp(at, UTC).isoformat())


@dg.asset(partitions_def=SHARDS, backfill_policy=dg.BackfillPolicy.single_run())
def rows(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    began = datetime.now(UTC).timestamp()
    times = EventTimes(context.instance)
    context.log.addFilter(times)
    # The first ten were up to date; the others were made two in a millisecond.
    times.plan({key: facts(began - 100 if i < 10 else began + i // 2 / 1000) for i, key in enumerate(KEYS)})
    for key in KEYS[:5]:
        context.log_event(dg.AssetObservation("rows", partition=key))
    return dg.MaterializeResult()


def events_tab(instance: dg.DagsterInstance) -> list[tuple[str | None, int]]:
    """Partition and millisecond as the tab lists them: pages by id and time, one event of a run per millisecond."""
    found: dict[tuple[str, int], str | None] = {}
    cursor, before = None, None
    while True:
        page = instance.fetch_materializations(
            dg.AssetRecordsFilter(dg.AssetKey("rows"), before_timestamp=before),
            limit=PAGE_SIZE,
            cursor=cursor,
        )
        for record in page.records:
            found.setdefault((record.run_id, int(record.timestamp * 1000)), record.partition_key)
        if len(page.records) < PAGE_SIZE:
            return [(key, at) for (_, at), key in found.items()]
        cursor, before = page.cursor, min(at for _, at in found) / 1000


@pytest.mark.parametrize("batches", [True, False])
def test_the_events_tab_lists_every_partition_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batches: bool
) -> None:
    (tmp_path / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    # Set first, so that what the storage sets is taken back too.
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "0")
    if batches:
        monkeypatch.delenv("DAGSTER_EVENT_BATCH_SIZE")
    with open_instance() if batches else dg.DagsterInstance.get() as instance:
        instance.add_dynamic_partitions("shards", KEYS)
        for _ in range(2):
            assert dg.materialize([rows], instance=instance, tags=RANGE).success
        listed = events_tab(instance)
        observed = instance.fetch_observations(dg.AssetKey("rows"), limit=100).records
    assert len(listed) == 2 * len(KEYS)
    assert {key for key, _ in listed} == set(KEYS)
    assert all(later > earlier for (_, later), (_, earlier) in pairwise(listed)), "newest first"
    if batches:
        assert [key for key, _ in listed] == KEYS[::-1] * 2, "in the order in which they were made"
    assert len({(record.run_id, int(record.timestamp * 1000)) for record in observed}) == 10


@given(st.lists(st.integers(-50, 150), max_size=60).map(sorted), st.integers(0, 20), st.integers(20, 100))
def test_times_are_spread_out(times: list[int], earliest: int, latest: int) -> None:
    found = spread_out(times, earliest, latest)
    assert len(found) == len(times)
    assert all(a < b for a, b in pairwise(found))
    if found:
        assert found[0] >= earliest
        assert found[-1] <= max(latest, earliest + len(times) - 1)
    if all(earliest <= at <= latest for at in times) and len(set(times)) == len(times):
        assert found == times, "times that fit stay"


def test_times_near_the_end_move_back_and_others_forward() -> None:
    assert spread_out([5, 5, 9, 9, 9], 0, 9) == [5, 6, 7, 8, 9]
    assert spread_out([-9, -9, 4], 0, 9) == [0, 1, 4]
    assert spread_out([1, 1, 1], 0, 0) == [0, 1, 2], "no room: later than the latest, but all different"
