"""A release of Dagster that has moved what it does not export: runs work, and the log says what is lost."""

from __future__ import annotations

import ast
import importlib.util
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import dagster as dg
import pytest
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage

import curation_assets
from curation_assets.defs import run as room
from curation_assets.defs.run.event_log import stock_storage
from curation_assets.project import Home

PACKAGE = Path(curation_assets.__file__).parent
Without = Callable[[str, str], ModuleType]


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Without:
    """Gives a module of `defs/run` as it is if a module of Dagster does not exist."""

    def imported(name: str, missing: str) -> ModuleType:
        path = PACKAGE / "defs" / "run" / f"{name}.py"
        spec = importlib.util.spec_from_file_location(f"without_{name}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        # Dataclasses look their module up.
        monkeypatch.setitem(sys.modules, spec.name, module)
        monkeypatch.setattr(logging.getLogger("dagster"), "propagate", True)
        with monkeypatch.context() as meanwhile:
            meanwhile.delitem(sys.modules, f"{room.__name__}.batched_storage", raising=False)
            meanwhile.setitem(sys.modules, missing, None)
            meanwhile.delattr(room, "batched_storage", raising=False)
            spec.loader.exec_module(module)
        assert f"Dagster {dg.__version__} lacks what this needs (" in caplog.text
        assert missing in caplog.text
        return module

    return imported


@dg.op
def one() -> None: ...


@dg.job
def works() -> None:
    one()


@dg.op
def failing() -> None:
    raise dg.Failure("not today", allow_retries=False)


@dg.job
def fails() -> None:
    failing()


def test_events_go_to_the_stock_storage(
    without: Without, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    event_log = without("event_log", f"{room.__name__}.batched_storage")
    assert "events are written one by one" in caplog.text
    assert event_log.BatchedSqliteStorage is stock_storage()
    (tmp_path / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert event_log.batched(instance) is instance
        assert event_log.most_events_sorted(instance.event_log_storage) == 0
        assert works.execute_in_process(instance=instance).success


def test_a_changed_event_log_is_not_extended(without: Without, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ImportError, match=r"event_log\.schema halted"):
        without("batched_storage", "dagster._core.storage.event_log.schema")
    monkeypatch.delattr(SqlEventLogStorage, "store_asset_event_tags")
    with pytest.raises(ImportError, match="SqliteEventLogStorage has no store_asset_event_tags"):
        without("batched_storage", "a.module.that.nobody.imports")


def test_the_stock_storage_is_found_without_its_name() -> None:
    found = stock_storage()
    assert (found.__name__, found.__module__.partition(".")[0]) == ("DagsterSqliteStorage", "dagster")


def test_events_keep_their_times(without: Without) -> None:
    times = without("event_times", "dagster._core.log_manager").EventTimes(dg.DagsterInstance.ephemeral())
    record = logging.LogRecord("a", logging.INFO, "b", 1, "c", None, None)
    record.dagster_event = object()
    created = record.created
    assert times.filter(record)
    assert record.created == created


def test_runs_have_no_place_in_the_ui(without: Without, tmp_path: Path) -> None:
    origin = without("origin", "dagster._core.remote_origin")
    assert origin.job_origin(Home(tmp_path, str(tmp_path), tmp_path), "p_curate") is None


def test_jobs_are_executed_as_dagster_does(without: Without) -> None:
    in_process = without("in_process", "dagster._core.execution.context_creation_job")
    with dg.DagsterInstance.ephemeral() as instance:
        result = in_process.execute_in_process(works, instance, tags={"a": "b"})
        assert result.success
        run = instance.get_run_by_id(result.run_id)
        assert run is not None
        assert run.tags["a"] == "b"
        assert not in_process.execute_in_process(fails, instance, tags={}).success


def test_lines_of_a_run_have_no_links(without: Without) -> None:
    wave_runner = without("wave_runner", "dagster._core.events")
    assert wave_runner.EngineEventData({"run": dg.MetadataValue.text("a")}) is None
    with dg.DagsterInstance.ephemeral() as instance:
        run = instance.create_run_for_job(works)
        instance.report_engine_event("a line", run, wave_runner.EngineEventData({}))
        assert "a line" in [log.message for log in instance.all_logs(run.run_id)]


def unguarded(path: Path) -> list[str]:
    """Private modules of Dagster that a module imports outside a `try`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tried = {id(node) for block in ast.walk(tree) if isinstance(block, ast.Try) for node in ast.walk(block)}
    return [
        node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dagster._")
        if id(node) not in tried and node.module
    ]


def test_every_private_import_has_a_fallback() -> None:
    found = {str(path.relative_to(PACKAGE)): unguarded(path) for path in PACKAGE.rglob("*.py")}
    # Its own import is the guarded one.
    assert found.pop("defs/run/batched_storage.py")
    assert {name: modules for name, modules in found.items() if modules} == {}
