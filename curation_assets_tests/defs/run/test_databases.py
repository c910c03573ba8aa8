"""Dagster's SQLite files: first starts at the same moment, and locks of others."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing, nullcontext
from pathlib import Path

import pytest
import sqlalchemy
import yaml

from curation_assets.defs.run import databases
from curation_assets.defs.run.databases import setting_up, wait_when_locked

OPEN = """
from curation_assets.defs.run.event_log import open_instance
with open_instance() as instance:
    print(instance.get_runs_count(), instance.event_log_storage.has_secondary_index("x"))
"""
OURS = {
    "module": "curation_assets.defs.event_log",
    "class": "BatchedSqliteStorage",
    "config": {"base_dir": {"env": "CURATION_STATE"}},
}


def test_first_starts_at_the_same_moment_succeed(tmp_path: Path) -> None:
    state = tmp_path / "state"
    settings = {"storage": {"custom": OURS}, "telemetry": {"enabled": False}}
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(settings))
    environment = {**os.environ, "CURATION_HOME": str(tmp_path), "CURATION_STATE": str(state)}
    environment["DAGSTER_HOME"] = str(tmp_path)
    started = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(2)
    ]
    for process in started:
        output, _ = process.communicate()
        assert (process.returncode, output) == (0, "0 False\n")


def test_one_at_a_time_sets_up_and_blocks_may_lie_within_each_other(tmp_path: Path) -> None:
    inside: list[str] = []

    def other() -> None:
        with setting_up(tmp_path):
            inside.append("other")

    thread = threading.Thread(target=other)
    with setting_up(tmp_path), setting_up(tmp_path):
        thread.start()
        time.sleep(0.1)
        inside.append("first")
    thread.join()
    assert inside == ["first", "other"]


@pytest.mark.parametrize("patience", [10.0, 0.05])
def test_a_locked_database_is_waited_for(
    patience: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_when_locked()
    monkeypatch.setattr(databases, "BUSY_SECONDS", patience)
    path = tmp_path / "a.db"
    engine = sqlalchemy.create_engine(f"sqlite:///{path}", connect_args={"timeout": 0})
    is_short = patience < 1
    outcome = pytest.raises(sqlalchemy.exc.OperationalError, match="locked") if is_short else nullcontext()
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as holder:
        holder.execute("CREATE TABLE t (n INTEGER)")
        holder.execute("BEGIN EXCLUSIVE")
        timer = threading.Timer(0.3, holder.execute, ("ROLLBACK",))
        timer.start()
        with outcome, engine.begin() as connection:
            connection.execute(sqlalchemy.text("INSERT INTO t VALUES (1)"))
        timer.join()
    engine.dispose()
