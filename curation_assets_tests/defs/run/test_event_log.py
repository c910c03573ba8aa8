"""The batched event log tells what the stock one tells, in a few transactions."""

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage

from curation_assets.defs.run.batched_storage import BatchedEventLog, BatchedSqliteStorage
from curation_assets.defs.run.event_log import open_instance

REPOSITORY = Path(__file__).parents[3]
KEYS = [f"{i:02}" for i in range(12)]
SHARDS = dg.DynamicPartitionsDefinition(name="shards")
POLICY = dg.BackfillPolicy.single_run()


@dg.asset(partitions_def=SHARDS, backfill_policy=POLICY)
def rows(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    for key in context.partition_keys:
        context.add_asset_metadata({"n_rows": int(key) + 1}, partition_key=key)
    return dg.MaterializeResult(data_version=dg.DataVersion("seven"))


@dg.asset(deps=[rows])
def total() -> dg.MaterializeResult:
    return dg.MaterializeResult(metadata={"n_rows": 78})


@dg.asset_check(asset=rows)
def rows_are_there() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


@pytest.fixture(autouse=True)
def no_batches_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    # Set first, so that what the storage sets is taken back too.
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "0")
    monkeypatch.delenv("DAGSTER_EVENT_BATCH_SIZE")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    (tmp_path / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    return tmp_path


def run(instance: dg.DagsterInstance, *, fails: bool = False) -> dg.ExecuteInProcessResult:
    @dg.asset(partitions_def=SHARDS, backfill_policy=POLICY, deps=[rows])
    def sometimes() -> dg.MaterializeResult:
        if fails:
            raise ValueError("not today")
        return dg.MaterializeResult()

    if not instance.get_dynamic_partitions("shards"):
        instance.add_dynamic_partitions("shards", KEYS)
    tags = {"dagster/asset_partition_range_start": KEYS[0], "dagster/asset_partition_range_end": KEYS[-1]}
    return dg.materialize(
        [rows, sometimes, total, rows_are_there], instance=instance, tags=tags, raise_on_error=False
    )


def told(instance: dg.DagsterInstance) -> dict[str, Any]:
    """What the UI reads of the assets, without times and ids of runs."""
    asset = dg.AssetKey("rows")
    latest = instance.get_latest_materialization_event(asset)
    assert latest is not None
    records = instance.fetch_materializations(asset, limit=100).records
    versions = instance.event_log_storage.get_latest_tags_by_partition(
        asset, dg.DagsterEventType.ASSET_MATERIALIZATION, ["dagster/data_version"]
    )
    logs = instance.all_logs(latest.run_id)
    return {
        "partitions": instance.get_materialized_partitions(asset),
        "n_rows": {r.partition_key: r.asset_materialization.metadata["n_rows"].value for r in records},
        "latest": latest.dagster_event.partition,
        "versions": dict(versions),
        "log": [
            (
                log.dagster_event_type,
                str(log.get_dagster_event().asset_key),
                log.get_dagster_event().partition,
            )
            for log in logs
            if log.is_dagster_event and log.get_dagster_event().asset_key
        ],
        "keys": sorted(key.to_user_string() for key in instance.all_asset_keys()),
        "last run": instance.event_log_storage.get_asset_records([asset])[0].asset_entry.last_run_id
        == latest.run_id,
        "check": {
            key.name: record.status.value if record else None
            for key, record in instance.event_log_storage.get_latest_asset_check_execution_by_key(
                [rows_are_there.check_key]
            ).items()
        },
    }


def event_counts(folder: Path) -> Counter[str]:
    """Events by type in the index of all runs."""
    with closing(sqlite3.connect(folder / "history" / "runs" / "index.db")) as connection:
        query = "select dagster_event_type, count(*) from event_logs group by 1"
        return Counter(dict(connection.execute(query).fetchall()))


def test_it_tells_what_the_stock_one_tells(tmp_path: Path, home: Path) -> None:
    (tmp_path / "stock").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "stock")) as stock:
        assert run(stock).success
        expected = told(stock)
    with open_instance() as batched:
        assert isinstance(batched.event_log_storage, BatchedEventLog)
        assert run(batched).success
        assert told(batched) == expected
    assert expected["n_rows"] == {key: int(key) + 1 for key in KEYS}
    assert expected["versions"] == {key: {"dagster/data_version": "seven"} for key in KEYS}
    assert event_counts(home) == event_counts(tmp_path / "stock")


def test_the_partitions_of_a_step_are_written_together(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    singly: list[str] = []
    stored = BatchedEventLog.store_event

    def count(log: BatchedEventLog, event: Any) -> None:
        if event.dagster_event and event.dagster_event.partition:
            singly.append(event.dagster_event.partition)
        stored(log, event)

    monkeypatch.setattr(BatchedEventLog, "store_event", count)
    with open_instance() as instance:
        assert run(instance).success
    assert not singly
    assert event_counts(home)["ASSET_MATERIALIZATION"] == 2 * len(KEYS) + 1


def test_a_failed_step_leaves_its_partitions_announced_but_not_made(home: Path) -> None:
    with open_instance() as instance:
        assert not run(instance, fails=True).success
        sometimes = dg.AssetKey("sometimes")
        assert not instance.get_materialized_partitions(sometimes)
        assert instance.get_materialized_partitions(dg.AssetKey("rows")) == set(KEYS)
    planned = event_counts(home)["ASSET_MATERIALIZATION_PLANNED"]
    assert planned == 2 * len(KEYS) + 1


def test_either_class_reads_what_the_other_wrote(home: Path) -> None:
    with dg.DagsterInstance.get() as stock:
        assert type(stock.event_log_storage) is not BatchedEventLog
        assert run(stock).success
        expected = told(stock)
    with open_instance() as batched:
        assert told(batched) == expected
        assert run(batched).success
        batched_told = told(batched)
    with dg.DagsterInstance.get() as stock:
        assert told(stock) == batched_told
        assert len(stock.get_runs()) == 2
    assert (home / "history" / "runs" / "index.db").exists()


def test_stock_storage_of_a_configured_folder_stays_there(home: Path) -> None:
    (home / "dagster.yaml").write_text(f"storage:\n  sqlite:\n    base_dir: {home / 'elsewhere'}\n")
    with open_instance() as instance:
        assert run(instance).success
    assert event_counts(home / "elsewhere")["ASSET_MATERIALIZATION"] == 2 * len(KEYS) + 1


@pytest.fixture
def project_instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """An instance of the repository's own dagster.yaml, opened as the UI and the daemon open it."""
    monkeypatch.setenv("CURATION_STATE", str(tmp_path / "state"))
    with dg.DagsterInstance.from_config(str(REPOSITORY)) as instance:
        yield instance


def test_the_projects_dagster_yaml_batches(project_instance: dg.DagsterInstance, tmp_path: Path) -> None:
    assert isinstance(project_instance.event_log_storage, BatchedEventLog)
    ref = project_instance.get_ref()
    assert ref.storage_data is not None
    assert ref.storage_data.class_name == BatchedSqliteStorage.__name__
    assert issubclass(BatchedSqliteStorage, DagsterSqliteStorage)
    assert run(project_instance).success
    assert (tmp_path / "state" / "history" / "runs" / "index.db").exists()


def test_a_batch_that_cannot_be_written_is_written_one_by_one(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise sqlite3.OperationalError("database is locked")

    monkeypatch.setattr(BatchedEventLog, "_store_asset_events", refuse)
    with open_instance() as instance:
        assert run(instance).success
        assert instance.get_materialized_partitions(dg.AssetKey("rows")) == set(KEYS)
    assert "database is locked" in capfd.readouterr().err
