"""`make dev` on a project of its own: Dagster's web server and daemon on a free port, stopped without leftovers."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

import dagster as dg

from curation_assets_tests.projects import SMALL_POOL, Project, make_project

REPOSITORY = Path(__file__).parents[2]
WATCHED_POOL = SMALL_POOL | {
    "watch": {"interval_seconds": 5, "settle_seconds": 1},
    "refit": {"new_rows": 0.9, "drift_score": None},
}
"""The small pool, looked at often; nothing asks for a refit, so that a new shard goes to the tree that stands."""
_START_SECONDS = 120.0
_STOP_SECONDS = 30.0
_LOG_LINES_SHOWN = 40

Found = TypeVar("Found")


def wait_for(what: str, look: Callable[[], Found | None], seconds: float, every: float = 1.0) -> Found:
    """Ask until there is an answer.

    Args:
        what: is waited for; named when the time is up.
        look: gives the answer, or something false if it is too early.
        seconds: to wait at most.
        every: pause between two looks, in seconds.
    """
    deadline = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(every)
    return found


@dataclass(frozen=True)
class DevServer:
    """A running server and the project it shows."""

    project: Project
    url: str
    log: Path

    @contextlib.contextmanager
    def instance(self) -> Iterator[dg.DagsterInstance]:
        """The instance that server, daemon and runs share: its dagster.yaml reads the environment."""
        with (
            mock.patch.dict(os.environ, environment(self.project)),
            dg.DagsterInstance.from_config(str(self.project.folder)) as instance,
        ):
            yield instance

    def graphql(self, query: str, **variables: Any) -> dict[str, Any]:
        """What the server answers to a query."""
        request = urllib.request.Request(
            f"{self.url}/graphql",
            json.dumps({"query": query, "variables": variables}).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                answer = json.load(response)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{error}: {error.read().decode()}") from error
        assert "errors" not in answer, answer["errors"]
        data: dict[str, Any] = answer["data"]
        return data

    def reload(self) -> None:
        """Load the definitions again, as the button *Reload definitions* does."""
        answer = self.graphql(_RELOAD, name="curation_assets")["reloadRepositoryLocation"]
        assert answer["__typename"] == "WorkspaceLocationEntry", answer


def environment(project: Project) -> dict[str, str]:
    """What the Makefile exports, for this project: DAGSTER_HOME is the folder that holds dagster.yaml."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("CURATION_", "DAGSTER_"))
    }
    return inherited | {
        "CURATION_HOME": str(project.folder),
        "CURATION_STATE": str(project.home.dagster_state),
        "CURATION_REPORT_PORT": str(_REPORT_PORT),
        "DAGSTER_HOME": str(project.folder),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")])),
    }


def make_curated_project(folder: Path) -> Project:
    """A project of three shards, curated once by the command line."""
    project = make_project(folder, n_images=72, samples_per_shard=24)
    project.write_pool(WATCHED_POOL)
    for name in ("dagster.yaml", "workspace.yaml"):
        shutil.copy(REPOSITORY / name, folder / name)
    done = subprocess.run(
        [sys.executable, "-m", "curation_assets.cli.main", "run", "--pool", "emoji"],
        cwd=folder,
        env=environment(project),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return project


@contextlib.contextmanager
def dev_server(project: Project) -> Iterator[DevServer]:
    """What `make dev` starts, until the block is left."""
    port = _free_port()
    server = DevServer(project, f"http://127.0.0.1:{port}", project.folder / "dagster_dev.log")
    with server.log.open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "curation_assets.cli.main", "dev", "--port", str(port)],
            cwd=project.folder,
            env=environment(project),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_for("the server's code location", lambda: _is_ready(server, process), _START_SECONDS, every=0.5)
        yield server
    finally:
        _stop(process, project)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


_RELOAD = """mutation Reload($name: String!) { reloadRepositoryLocation(repositoryLocationName: $name) {
  __typename
} }"""
_REPORT_PORT = _free_port()
_READY = """{
  workspaceOrError { ... on Workspace { locationEntries {
    loadStatus locationOrLoadError { ... on RepositoryLocation { name } ... on PythonError { message } }
  } } }
  instance { daemonHealth { allDaemonStatuses { daemonType required healthy } } }
}"""


def _is_ready(server: DevServer, process: subprocess.Popen[bytes]) -> bool:
    if process.poll() is not None:
        lines = server.log.read_text().splitlines()[-_LOG_LINES_SHOWN:]
        raise AssertionError("\n".join([f"dagster dev ended with code {process.returncode}:", *lines]))
    try:
        answer = server.graphql(_READY)
    except OSError:
        return False
    locations = answer["workspaceOrError"]["locationEntries"]
    errors = [
        found["message"] for entry in locations if "message" in (found := entry["locationOrLoadError"] or {})
    ]
    assert not errors, errors
    daemons = answer["instance"]["daemonHealth"]["allDaemonStatuses"]
    return all(entry["loadStatus"] == "LOADED" for entry in locations) and all(
        daemon["healthy"] for daemon in daemons if daemon["required"]
    )


def _stop(process: subprocess.Popen[bytes], project: Project) -> None:
    """Ctrl-C, as in a terminal; then whatever of the group, or of its runs, is still there is killed."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(_STOP_SECONDS)
    for left_over in _processes_of(project):
        with contextlib.suppress(ProcessLookupError):
            os.kill(left_over, signal.SIGKILL)


def _processes_of(project: Project) -> list[int]:
    """Processes that were given this project's DAGSTER_HOME, in whatever group they are."""
    mine = f"DAGSTER_HOME={project.folder}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mine in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return [pid for pid in found if pid != os.getpid()]
