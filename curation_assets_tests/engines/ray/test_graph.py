"""The whole graph on a simulated cluster, through the command line: killed, resumed, and the same selection."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from curation_assets.engines.ray.simulated import SimulatedCluster
from curation_assets_tests.projects import SMALL_POOL, Project, make_project

ON_RAY = SMALL_POOL | {
    "engine": {"kind": "ray", "workers": 2, "cpus_per_worker": 0.5, "least_work": 1},
    "memory_budget": "1.5 GB",
}


def test_a_killed_run_on_the_cluster_goes_on_to_the_local_selection(
    cluster: SimulatedCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = make_project(tmp_path / "local")
    spread = Project(tmp_path / "spread")
    shutil.copytree(local.folder, spread.folder)
    code, output = local.run("run", "--pool", "emoji")
    assert code == 0, output
    spread.write_pool(ON_RAY)
    monkeypatch.setenv("CURATION_RAY_ADDRESS", cluster.address)

    process = spread.start("run", "--pool", "emoji")
    deadline = time.monotonic() + 200
    while spread.storage.output("level_1_initial").facts() is None:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    code, output = spread.run("run", "--pool", "emoji")
    assert code == 0, output
    assert spread.selection_bytes() == local.selection_bytes()
    for asset in ("level_1_clusters", "level_2_clusters"):
        here, there = (
            local.storage.output(asset).require_facts(),
            spread.storage.output(asset).require_facts(),
        )
        assert here.digest == there.digest
        assert there.summary["engine"]["kind"] == "ray"
    embedded = [
        output.storage.output("embeddings", "00000").require_facts().digest for output in (local, spread)
    ]
    assert embedded[0] == embedded[1]
