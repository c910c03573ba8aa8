"""Commands that are killed, and what precedes them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curation_assets_tests.kills.embeddings_pool import POOL, EmbeddingsProject
from curation_assets_tests.kills.forked_commands import ForkServer
from curation_assets_tests.kills.stored_files import differences, left_over, stored_files

N_SHARDS = 5


@dataclass(frozen=True)
class Scenario:
    """A change of a project, and the command that is killed."""

    name: str
    change: Callable[[EmbeddingsProject], None]
    arguments: tuple[str, ...] = ("run",)
    is_curated: bool = True
    """Before the change."""

    @property
    def command(self) -> tuple[str, ...]:
        """Arguments of `curation-assets`."""
        first, *others = self.arguments
        return (first, "--pool", POOL, *others)


def _nothing(_: EmbeddingsProject) -> None:
    pass


def _everything(project: EmbeddingsProject) -> None:
    project.add(5)
    project.remove(0)
    project.add(1, edition=1)
    project.rename_captions(2)


SCENARIOS = (
    Scenario("run", _nothing, is_curated=False),
    Scenario("arrival", lambda project: project.add(5)),
    Scenario("arrival and refit", lambda project: project.add(5, 6, 7)),
    Scenario("deletion", lambda project: project.remove(1, 3)),
    Scenario("change", lambda project: project.add(2, edition=1)),
    Scenario("metadata", lambda project: project.rename_captions(4)),
    Scenario("everything", _everything),
    Scenario("backfill", _nothing, ("backfill", "--from", "raw_pool")),
    Scenario("backfill of shards", _nothing, ("backfill", "--from", "embeddings", "--shards", "00001..00003")),
    Scenario(
        "backfill in processes",
        _everything,
        ("backfill", "--from", "raw_pool", "--to", "embeddings", "--parallel", "2"),
    ),
    Scenario("run from a level", _nothing, ("run", "--from", "level_1")),
)  # fmt: skip


@dataclass(frozen=True)
class Truth:
    """What an undisturbed command stores."""

    start: EmbeddingsProject
    """The project before the command, to be copied."""
    seconds: float
    """That the command takes."""
    stored: dict[str, Any]


def curated_project(folder: Path, server: ForkServer) -> EmbeddingsProject:
    """A project that was curated once."""
    project = EmbeddingsProject(folder)
    project.create(N_SHARDS)
    run_to_its_end(project, server, "run", "--pool", POOL)
    return project


def truth_of(scenario: Scenario, curated: EmbeddingsProject, folder: Path, server: ForkServer) -> Truth:
    """Prepare a scenario, and carry its command out undisturbed."""
    start = EmbeddingsProject(folder / "start")
    if scenario.is_curated:
        shutil.copytree(curated.folder, start.folder)
    else:
        start.create(N_SHARDS)
    scenario.change(start)
    project = copy_of(start, folder / "truth")
    seconds = run_to_its_end(project, server, *scenario.command)
    run_to_its_end(project, server, "run", "--pool", POOL)
    return Truth(start, seconds, stored_files(project))


def copy_of(project: EmbeddingsProject, folder: Path) -> EmbeddingsProject:
    """A copy with the same times of files."""
    shutil.copytree(project.folder, folder)
    return EmbeddingsProject(folder)


def run_to_its_end(project: EmbeddingsProject, server: ForkServer, *arguments: str) -> float:
    """Seconds of a command that must succeed."""
    output = project.folder / "output.txt"
    code, seconds = server.run(project.environment, output, *arguments)
    assert code == 0, f"{' '.join(arguments)} ended with {code}: see {output}"
    return seconds


def assert_as_undisturbed(project: EmbeddingsProject, truth: Truth, server: ForkServer) -> None:
    """Bring a killed command's project to rest, and compare it."""
    run_to_its_end(project, server, "run", "--pool", POOL)
    assert differences(truth.stored, stored_files(project)) == []
    assert left_over(project) == []
    run_to_its_end(project, server, "verify", "--pool", POOL)
    run_to_its_end(project, server, "run", "--pool", POOL)
    assert "nothing to do" in (project.folder / "output.txt").read_text().splitlines()[-1]
