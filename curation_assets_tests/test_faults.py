"""Faults of the machine end a command with one line and a remedy."""

from __future__ import annotations

import errno
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import torch
from sqlalchemy.exc import DatabaseError

from curation_assets.cli import status
from curation_assets.faults import fault_line, meets_all
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
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has"),
            r"a GPU has no memory left \(CUDA out of memory\): end other processes .*device_memory for fits",
        ),
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


@pytest.mark.parametrize(
    "number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.ENOTDIR, errno.EIO]
)
@pytest.mark.parametrize("variable", ["CURATION_STORAGE", "CURATION_STATE"])
def test_a_fault_names_the_folder_and_its_setting(
    number: int, variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, str(tmp_path))
    for path in (tmp_path, tmp_path / "p" / "shards.json"):
        line = fault_line(OSError(number, "words", str(path)))
        assert line is not None
        assert f"{tmp_path} ({variable})" in line
    outside = fault_line(OSError(number, "words", "/elsewhere/a.tar"))
    assert outside is not None
    assert "CURATION" not in outside


def test_a_state_folder_below_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    environment = os.environ | {
        "CURATION_HOME": str(tmp_path),
        "CURATION_STATE": str(tmp_path / "file" / "state"),
    }
    command = [sys.executable, "-m", "curation_assets.cli.main", "status"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert "Traceback" not in done.stderr
    assert re.search(r"error: .*file/state cannot be made, since a part of its path is a file", done.stderr)
    assert done.returncode != 0


def test_libraries_that_tell_of_the_system_in_words_are_understood() -> None:
    error = RuntimeError("parquet: underlying IO error: No space left on device (os error 28)")
    assert (fault_line(error) or "").startswith("no space left for ")
    assert meets_all(error)
    assert not meets_all(RuntimeError("Connection refused (os error 111)"))
    assert fault_line(RuntimeError("Connection refused (os error 111)")) is None


def test_the_database_that_is_locked_or_damaged_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CURATION_STATE", str(tmp_path))
    index, run = (tmp_path / "history" / "runs" / name for name in ("index.db", "0a1b.db"))
    index.parent.mkdir(parents=True)
    with closing(sqlite3.connect(index, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE t (n INTEGER)")
        connection.execute("BEGIN EXCLUSIVE")
        locked = fault_line(sqlite3.OperationalError("database is locked"))
    assert f"{index} is locked" in (locked or "")
    malformed = sqlite3.DatabaseError("database disk image is malformed")
    run.write_bytes(b"not a database" * 100)
    line = fault_line(malformed) or ""
    assert f"{run} is damaged" in line
    assert "remove it" in line
    index.write_bytes(b"not a database" * 100)
    line = fault_line(malformed) or ""
    assert f"{index} is damaged" in line
    assert f"move {tmp_path} away" in line


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
