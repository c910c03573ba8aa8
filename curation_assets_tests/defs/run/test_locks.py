"""One runner at a time per pool; for the lock in PostgreSQL see curation_assets_tests/postgres."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from curation_assets.defs.run.locks import only_runner
from curation_assets.errors import PoolBusyError
from curation_assets.project import Home
from curation_assets_tests.projects import Project

HOLD = """
import sys, time
from pathlib import Path
import dagster as dg
from curation_assets.defs.run.locks import only_runner
from curation_assets.project import Home
folder = Path(sys.argv[1])
with dg.DagsterInstance.ephemeral() as instance, only_runner(Home(folder, str(folder), folder), instance, "p"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        yield instance


def test_a_second_process_is_refused_and_a_killed_one_lets_go(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    home = Project(tmp_path).home
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(home.dagster_state)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with (
        pytest.raises(PoolBusyError, match=rf"pool 'p' is already being run by process {holder.pid}@"),
        only_runner(home, instance, "p"),
    ):
        pass
    with only_runner(home, instance, "another"):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with only_runner(home, instance, "p"):
        pass


def test_sqlite_has_no_lock_that_machines_share(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    here, there = (Home(tmp_path, str(tmp_path), tmp_path / name) for name in ("here", "there"))
    with only_runner(here, instance, "p"), only_runner(there, instance, "p"):
        assert instance.get_runs_count() == 0
