"""One runner at a time per pool."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from curation_assets.defs.run.pool_lock import only_runner
from curation_assets.errors import PoolBusyError
from curation_assets_tests.projects import Project

HOLD = """
import sys, time
from pathlib import Path
from curation_assets.defs.run.pool_lock import only_runner
from curation_assets.project import Home
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
