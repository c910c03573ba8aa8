"""Faults of the machine end a command with one line and a remedy."""

from __future__ import annotations

import errno
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy.exc import DatabaseError

from curation_assets.cli import status
from curation_assets.faults import fault_line
from curation_assets_tests.projects import make_project


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "/a/b"),
            "no space left for /a/b: make room; finished work",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "no space left for .*curated or .*dagster: make room",
        ),
        (
            OSError(errno.EROFS, "Read-only file system", "/a/b"),
            "/a/b lies on a file system that is read-only",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "/a/b"), "no permission for /a/b"),
        (sqlite3.OperationalError("database is locked"), "is locked by another process .*: wait"),
        (sqlite3.OperationalError("database or disk is full"), "no space left for Dagster's database"),
        (sqlite3.OperationalError("attempt to write a readonly database"), "cannot be written"),
        (sqlite3.DatabaseError("database disk image is malformed"), "is damaged .*: move .* away"),
        (DatabaseError("SELECT 1", {}, sqlite3.DatabaseError("file is not a database")), "is damaged"),
    ],
)
def test_a_fault_is_one_line_with_a_remedy(error: Exception, says: str) -> None:
    for raised in (error, wrapped(error)):
        line = fault_line(raised)
        assert line is not None
        assert re.search(says, line)
        assert "\n" not in line


def wrapped(error: Exception) -> Exception:
    try:
        try:
            raise error
        except Exception as inner:
            raise RuntimeError("outer") from inner
    except RuntimeError as outer:
        return outer


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("x"), FileNotFoundError(errno.ENOENT, "x", "y")])
def test_other_errors_keep_their_traceback(error: Exception) -> None:
    assert fault_line(wrapped(error)) is None


def test_help_reads_no_pools_and_starts_no_dagster() -> None:
    heavy = "{'dagster', 'polars', 'numpy'} & set(sys.modules)"
    command = [sys.executable, "-c", f"import sys, curation_assets.cli.main; print(sorted({heavy}))"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_cut_database_is_one_line(tmp_path: Path) -> None:
    project = make_project(tmp_path, n_images=24, samples_per_shard=24)
    history = project.home.dagster_state / "history"
    history.mkdir()
    (history / "runs.db").write_bytes(b"SQLite format 3\0" + bytes(84))
    code, output = project.run("run", "--pool", "emoji")
    assert code == 2
    assert "is damaged" in output
    assert f"move {project.home.dagster_state} away" in output
    assert "Traceback" not in output


def test_a_full_disk_ends_any_command_with_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = make_project(tmp_path, n_images=24, samples_per_shard=24)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/full")

    monkeypatch.setattr(status, "show_status", full)
    code, output = project.run("status")
    assert (code, output) == (
        2,
        "error: no space left for /full: make room; finished work is kept, and the same command goes on\n",
    )
