"""The lock that machines share: one runner of a pool, released however its holder ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pytest
import yaml

from curation_assets.defs.run.locks import only_runner
from curation_assets.errors import PoolBusyError
from curation_assets.project import Home
from curation_assets_tests.projects import Project, make_project

pytestmark = pytest.mark.postgres

HOLD = """
import os, time
from pathlib import Path
import dagster as dg
from curation_assets.defs.run.locks import only_runner
from curation_assets.project import Home
folder = Path(os.environ["DAGSTER_HOME"])
with dg.DagsterInstance.get() as instance, only_runner(Home(folder, str(folder), folder), instance, "p"):
    print("held", flush=True)
    time.sleep(60)
"""


def machine(folder: Path, url: str) -> Path:
    """DAGSTER_HOME of one of several machines that share a database."""
    folder.mkdir()
    settings = {"storage": {"postgres": {"postgres_url": url}}, "telemetry": {"enabled": False}}
    (folder / "dagster.yaml").write_text(yaml.safe_dump(settings))
    return folder


def home_of(folder: Path) -> Home:
    """A project of that machine: no two machines share a file lock."""
    return Home(folder, str(folder), folder)


def test_a_second_machine_is_refused_and_a_killed_one_lets_go(tmp_path: Path, postgres_url: str) -> None:
    here, there = machine(tmp_path / "here", postgres_url), machine(tmp_path / "there", postgres_url)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD],
        env={**os.environ, "DAGSTER_HOME": str(there)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with dg.DagsterInstance.from_config(str(here)) as instance:
        with (
            pytest.raises(
                PoolBusyError, match=rf"by process {holder.pid}@.* \(advisory lock in PostgreSQL\)"
            ),
            only_runner(home_of(here), instance, "p"),
        ):
            pass
        with only_runner(home_of(here), instance, "another"):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        # Twice: the lock is given back at the end of the block, and by a server that notices the dead.
        for _ in range(2):
            take_within(home_of(here), instance, seconds=5)


def take_within(home: Home, instance: dg.DagsterInstance, *, seconds: float) -> None:
    """Take the lock as soon as the server has noticed that its holder is gone."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            with only_runner(home, instance, "p"):
                return
        except PoolBusyError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_the_command_line_takes_it(tmp_path: Path, postgres_url: str) -> None:
    project: Project = make_project(tmp_path / "project", n_images=12, samples_per_shard=12)
    home = machine(tmp_path / "home", postgres_url)
    (project.home.dagster_state / "dagster.yaml").write_text((home / "dagster.yaml").read_text())
    with dg.DagsterInstance.from_config(str(home)) as instance, only_runner(home_of(home), instance, "emoji"):
        for command in (("run",), ("backfill", "--from", "raw_pool")):
            code, output = project.run(*command, "--pool", "emoji")
            assert code == 2
            assert f"already being run by process {os.getpid()}@" in output
