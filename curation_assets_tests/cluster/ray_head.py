"""A Ray head of the tests' own: on loopback, behind a token, stopped without leftovers."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_START_SECONDS = 90.0
_STOP_SECONDS = 30.0


@dataclass(frozen=True)
class RayHead:
    """A running head, and what a process needs to submit jobs to it."""

    jobs_address: str
    environment: dict[str, str]
    process: subprocess.Popen[bytes]

    def listens_on(self) -> set[str]:
        """Addresses at which processes of the head accept connections, as hexadecimal of /proc/net/tcp."""
        inodes = set()
        for process in _session(self.process.pid):
            with contextlib.suppress(OSError):
                for handle in (Path("/proc") / process / "fd").iterdir():
                    with contextlib.suppress(OSError):
                        inodes.add(str(handle.readlink()).removeprefix("socket:[").removesuffix("]"))
        found = set()
        for table in ("/proc/net/tcp", "/proc/net/tcp6"):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and fields[9] in inodes:
                    found.add(fields[1].partition(":")[0])
        return found


@contextlib.contextmanager
def ray_head() -> Iterator[RayHead]:
    """Start a head for Ray jobs and wait until it answers."""
    # Short: the paths of Ray's sockets may have 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="cr-", dir="/tmp"))
    jobs = _free_port()
    scripts = str(Path(sys.executable).parent)
    environment = {
        "PATH": f"{scripts}:{os.environ['PATH']}",
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{jobs}",
    }
    start = [
        f"{scripts}/ray", "start", "--head", "--block", "--node-ip-address=127.0.0.1", f"--port={_free_port()}",
        "--include-dashboard=true", "--dashboard-host=127.0.0.1", f"--dashboard-port={jobs}",
        f"--dashboard-agent-listen-port={_free_port()}", f"--ray-client-server-port={_free_port()}",
        "--num-cpus=2", "--object-store-memory=100000000", f"--temp-dir={folder}",
    ]  # fmt: skip
    # Without the last one Ray listens on every interface.
    local = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    log = folder / "head.log"
    process = subprocess.Popen(
        start,
        env={**os.environ, **environment, **local},
        stdin=subprocess.DEVNULL,
        stdout=log.open("wb"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    head = RayHead(environment["RAY_API_SERVER_ADDRESS"], environment, process)
    try:
        _wait_until_it_answers(head, environment["RAY_AUTH_TOKEN"], log)
        yield head
    finally:
        _stop(process)
        shutil.rmtree(folder, ignore_errors=True)


def status_of(url: str, token: str | None) -> int:
    """HTTP status of a request with a token, or without."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def _wait_until_it_answers(head: RayHead, token: str, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        with contextlib.suppress(OSError):
            if status_of(f"{head.jobs_address}/api/jobs/", token) == 200:
                return
        said = log.read_text(errors="replace")[-2000:]
        assert head.process.poll() is None, said
        assert time.monotonic() < deadline, said
        time.sleep(0.5)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the head and whatever it started: all of them are of its session."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_SECONDS)
    for pid in _session(process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    process.wait()


def _session(leader: int) -> list[str]:
    """Ids of the processes of a session (Linux)."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(stat.read_text(errors="replace").rpartition(")")[2].split()[3]) == leader:
                found.append(stat.parent.name)
    return found


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
