"""One run at a time per pool, and runs of dead processes."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from curation_assets.cli.project import PROCESS_TAG, close_dead_runs, find_spec, only_runner, process_name
from curation_assets.errors import PoolBusyError, PoolSpecError
from curation_assets_tests.projects import SMALL_POOL, Project

HOLD = """
import sys, time
from pathlib import Path
from curation_assets.cli.project import only_runner
from curation_assets.home import Home
folder = Path(sys.argv[1])
with only_runner(Home(folder, str(folder), folder), "p"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_and_a_killed_one_lets_go(tmp_path: Path) -> None:
    home = Project(tmp_path).home
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(home.dagster_state)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(PoolBusyError, match=rf"{holder.pid}@.* is running pool 'p'"), only_runner(home, "p"):
        pass
    with only_runner(home, "another"):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with only_runner(home, "p"):
        pass


def test_runs_of_dead_processes_are_closed_and_others_left() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    host = process_name().partition("@")[2]
    with dg.DagsterInstance.ephemeral() as instance:
        owners = (f"{gone.pid}@{host}", process_name(), f"{gone.pid}@elsewhere")
        runs = [
            instance.create_run_for_job(_job, tags={PROCESS_TAG: owner}, status=dg.DagsterRunStatus.STARTED)
            for owner in owners
        ]
        assert close_dead_runs(instance) == 1
        statuses = [instance.get_run_by_id(run.run_id).status for run in runs]  # type: ignore[union-attr]
    assert statuses == [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTED]


@dg.job
def _job() -> None: ...


def test_an_unknown_pool_names_those_there_are(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.write_pool(SMALL_POOL)
    assert find_spec(project.home, "emoji").name == "emoji"
    with pytest.raises(PoolSpecError, match=r"--pool web: no such pool .* there are: emoji"):
        find_spec(project.home, "web")
