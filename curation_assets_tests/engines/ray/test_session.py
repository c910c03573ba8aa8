"""Joining Ray: on loopback, with a token, without a trace in the home folder, and with errors that say what to do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from curation_assets.engines.ray import session
from curation_assets.engines.ray.simulated import SimulatedCluster
from curation_assets.errors import CurationError, PoolSpecError

_LOOPBACK = ("0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F")
_JOIN = """
import sys
from curation_assets.engines.ray.session import connect
from curation_assets.errors import CurationError
try:
    ray = connect(sys.argv[1])
except CurationError as error:
    print("refused:", error)
else:
    print("joined", len(ray.nodes()), flush=True)
    input()
"""


def listening() -> set[str]:
    """Addresses in hexadecimal on which something listens for others than this machine."""
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            address, state = line.split()[1], line.split()[3]
            if state == "0A" and not address.startswith(_LOOPBACK):
                found.add(address)
    return found


def join(address: str, home: Path, **environment: str) -> subprocess.Popen[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return subprocess.Popen(
        [sys.executable, "-c", _JOIN, address],
        env={**clean, "HOME": str(home), **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_ray_started_here_listens_to_this_machine_alone(tmp_path: Path) -> None:
    before = listening()
    process = join("local", tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "joined 1\n"
    assert listening() <= before
    process.communicate("\n", timeout=60)
    # Neither a token nor anything else in the home folder.
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_wrong_token_is_refused(cluster: SimulatedCluster, tmp_path: Path) -> None:
    process = join(cluster.address, tmp_path, RAY_AUTH_TOKEN="f" * 64)
    answer, _ = process.communicate("\n", timeout=120)
    assert answer.startswith(f"refused: cannot join a Ray cluster at '{cluster.address}'")
    assert "the token" in answer


def test_without_a_token_nothing_is_tried(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(session, "_has_token", lambda: False)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    with pytest.raises(PoolSpecError, match="RAY_AUTH_TOKEN"):
        session.connect("10.0.0.1:6379")


def test_a_folder_of_someone_else_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(session.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(session, "_LONGEST_FOLDER", 10**4)
    folder = session.private_folder()
    assert Path(folder).stat().st_mode & 0o777 == 0o700
    monkeypatch.setattr(session.os, "getuid", lambda: 4711)
    (tmp_path / "ray-4711").mkdir()
    with pytest.raises(CurationError, match="belongs to another user"):
        session.private_folder()
