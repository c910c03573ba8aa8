"""Claims on a pool: one holder at a time, taken over when the holder is gone, on any storage."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import pytest
from upath import UPath

from curation_assets.errors import PoolBusyError
from curation_assets.storage.claims import claim as claims
from curation_assets.storage.claims import files
from curation_assets.storage.claims.claim import (
    CLAIM_VARIABLE,
    CLAIMS,
    claim_held,
    claimed,
    works_below_a_claim,
)
from curation_assets.storage.claims.files import Holder
from curation_assets.storage.claims.processes import Process

HOLD = """
import sys, time
from upath import UPath
from curation_assets.storage.claims.claim import claimed
with claimed(UPath(sys.argv[1]), "a test"):
    print("held", flush=True)
    time.sleep(60)
"""
ELSEWHERE = Process("elsewher", 1, "1")


@pytest.fixture(params=["local", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[UPath]:
    found = UPath(tmp_path / "p" if request.param == "local" else f"memory://{tmp_path.name}/p")
    yield found
    assert not claim_held(found)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "RENEW_SECONDS", 0.02)
    monkeypatch.setattr(claims, "_LOOK_AGAIN_SECONDS", (0.01, 0.05))
    monkeypatch.setattr(files, "LEASE_SECONDS", 0.3)


def foreign(folder: UPath, renewed: int = 0, **changes: object) -> UPath:
    """A claim as another machine writes it."""
    path = folder / CLAIMS / "feedfeedfeedfeed.json"
    holder = Holder("7@far", "its work", "", "2026-01-02T03:04:05+00:00", ELSEWHERE, "boot", is_locked=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.fs.pipe_file(
        path.path, json.dumps({"renewed": f"{renewed:012}", **asdict(holder), **changes}).encode()
    )
    return path


def test_a_second_holder_is_told_who_holds_it_and_since_when(folder: UPath) -> None:
    with claimed(folder, "first work"):
        holder = rf"pool 'p' is already being run by process {os.getpid()}@.* \(first work\) since 20"
        with pytest.raises(PoolBusyError, match=holder), claimed(folder, "second work"):
            pass
        with claimed(folder.parent / "another", "other work"):
            pass
    with claimed(folder, "second work"):
        pass
    assert not [path for path in folder.glob("**/*") if path.is_file()]


def test_holders_of_one_group_work_at_the_same_time(folder: UPath) -> None:
    with claimed(folder, "a step", group="one"), claimed(folder, "a step", group="one"):
        for group in ("", "two"):
            with pytest.raises(PoolBusyError, match="a step"), claimed(folder, "x", group=group):
                pass
    with (
        claimed(folder, "a run"),
        pytest.raises(PoolBusyError, match="a run"),
        claimed(folder, "x", group="one"),
    ):
        pass


def test_a_killed_holder_is_taken_over_at_once_with_a_line(tmp_path: Path) -> None:
    folder, lines = UPath(tmp_path / "p"), list[str]()
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(PoolBusyError, match=rf"process {holder.pid}@"), claimed(folder, "x"):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with claimed(folder, "x", say=lines.append):
        pass
    assert len(lines) == 1
    assert f"process {holder.pid}@" in lines[0]
    assert "is taken over: that process is gone" in lines[0]


def test_a_container_of_this_machine_is_judged_by_its_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As seen from another container: the number of the process says nothing there.
    folder = UPath(tmp_path / "p")
    monkeypatch.setattr(Process, "is_alive", lambda _: None)
    with claimed(folder, "x") as held:
        with pytest.raises(PoolBusyError), claimed(folder, "y"):
            pass
        os.close(held._file._descriptor)
        held._file._descriptor = -1
        with claimed(folder, "y"):
            pass


@pytest.mark.usefixtures("quick")
def test_a_holder_of_another_machine_is_gone_when_its_claim_stops_changing(folder: UPath) -> None:
    path, lines = foreign(folder), list[str]()
    with pytest.raises(PoolBusyError, match=r"7@far.*If its machine is gone"), claimed(folder, "x"):
        pass
    begun = time.monotonic()
    with claimed(folder, "x", patience=0.01, say=lines.append):
        assert time.monotonic() - begun >= 0.2
    assert not path.exists()
    assert "waiting up to" in lines[0]
    assert "is taken over" in lines[1]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("changes", [{}, {"since": "2999-01-01T00:00:00+00:00"}, {"process": "nonsense"}])
def test_a_holder_of_another_machine_works_while_its_claim_changes(
    folder: UPath, changes: dict[str, object]
) -> None:
    # Whatever its clock says, and even if its claim cannot be read.
    ends, n = threading.Event(), 0

    def renew() -> None:
        nonlocal n
        while not ends.wait(0.02):
            foreign(folder, n := n + 1, **changes)

    foreign(folder, **changes)
    thread = threading.Thread(target=renew)
    thread.start()
    try:
        with pytest.raises(PoolBusyError), claimed(folder, "x", patience=0.6):
            pass
    finally:
        ends.set()
        thread.join()


@pytest.mark.usefixtures("quick")
def test_a_holder_whose_claim_was_taken_over_is_told(folder: UPath) -> None:
    with claimed(folder, "x") as held:
        held.require()
        time.sleep(0.1)
        held.require()
        next(iter((folder / CLAIMS).iterdir())).unlink()
        time.sleep(0.2)
        with pytest.raises(PoolBusyError, match="was taken over"):
            held.require()


@pytest.mark.usefixtures("quick")
def test_of_many_that_come_at_once_one_works_at_a_time(folder: UPath) -> None:
    at_work, most, done = [0], [0], list[int]()

    def work(number: int) -> None:
        with suppress(PoolBusyError), claimed(folder, "x", patience=20):
            at_work[0] += 1
            most[0] = max(most[0], at_work[0])
            time.sleep(0.01)
            at_work[0] -= 1
            done.append(number)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
    assert sorted(done) == list(range(6))


def test_a_worker_works_below_the_claim_of_its_command(
    folder: UPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = foreign(folder)
    assert not works_below_a_claim(folder)
    monkeypatch.setenv(CLAIM_VARIABLE, path.stem)
    assert works_below_a_claim(folder)
    path.unlink()
    assert not works_below_a_claim(folder)
    with claimed(folder, "x"):
        assert works_below_a_claim(folder)


def test_file_systems_without_locks_judge_by_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(files.fcntl, "flock", no_locks)
    folder = UPath(tmp_path / "p")
    with claimed(folder, "x"), pytest.raises(PoolBusyError), claimed(folder, "y"):
        pass
