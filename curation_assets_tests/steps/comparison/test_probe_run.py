"""A pool that is balanced by its probe, run by the command line: what runs in which order, and what runs again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from curation_assets_tests.projects import SMALL_POOL, Project, copy_project

# Returns the level of each candidate, and its negative, and notes that it ran.
JUDGE = """
import json, os, pathlib
with open("runs.txt", "a") as runs:
    runs.write("run\\n")
listed = json.loads(pathlib.Path(os.environ["CURATION_CANDIDATES"]).read_text())
levels = {candidate["name"]: candidate["level"] or 0 for candidate in listed["candidates"]}
print(json.dumps({name: {"high": level, "low": -level} for name, level in levels.items()}))
"""


def test_the_probe_runs_before_the_selection_that_asks_for_it(finished: Project, tmp_path: Path) -> None:
    project = copy_project(finished, tmp_path / "project")
    (project.folder / "judge.py").write_text(JUDGE)
    probe: dict[str, Any] = {"command": [sys.executable, "judge.py"], "n_seeds": 1, "figure": "high"}
    settings = {
        **SMALL_POOL,
        "atlas": None,
        "targets": [{"name": "small", "size": 15, "balance_from": {"by": "probe"}}],
    }

    def run(**changes: Any) -> tuple[int, int, str]:
        """The level that the target is balanced from, how often the command ran, and the output."""
        project.write_pool(settings | {"probe": probe | changes})
        code, output = project.run("run", "--pool", "emoji")
        assert code == 0, output
        level = project.storage.selection().require_facts().summary["balance_from"]["small"]
        return level, len((project.folder / "runs.txt").read_text().splitlines()), output

    assert run()[:2] == (3, 1)
    # Another figure draws again without the command.
    assert run(figure="low")[:2] == (1, 1)
    level, n_runs, output = run(figure="low", timeout_seconds=50)
    assert (level, n_runs) == (1, 1)
    assert "selection" not in output
    assert run(figure="low", n_seeds=2)[:2] == (1, 2)
