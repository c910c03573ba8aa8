"""Random SIGKILLs: `make test-kills`.

TRIALS is the number of kills (default 200), SEED chooses their times. A trial kills a command several times in a row,
then gives it once more and compares every stored file with what the undisturbed command stores. Times in documents
and in the report are left out, as is the digest of the report's page.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation_assets_tests.kills.embeddings_pool import EmbeddingsProject
from curation_assets_tests.kills.forked_commands import ForkedCommand, ForkServer
from curation_assets_tests.kills.scenarios import (
    SCENARIOS,
    Scenario,
    Truth,
    assert_as_undisturbed,
    copy_of,
    curated_project,
    run_to_its_end,
    truth_of,
)

pytestmark = pytest.mark.kills

KILLS_PER_TRIAL = 5
N_TRIALS = -(-int(os.environ.get("TRIALS", "200")) // KILLS_PER_TRIAL)
SEED = int(os.environ.get("SEED", "0"))
# Later kills come sooner, as less is left to do.
_LATER = 0.3


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    with ForkServer() as started:
        yield started


@pytest.fixture(scope="module")
def truths(server: ForkServer, tmp_path_factory: pytest.TempPathFactory) -> dict[Scenario, Truth]:
    """Truths by scenario, made when a scenario is first asked for."""
    return _Truths(server, tmp_path_factory.mktemp("truths"))


class _Truths(dict[Scenario, Truth]):
    def __init__(self, server: ForkServer, folder: Path) -> None:
        super().__init__()
        self._server, self._folder = server, folder
        self._curated = curated_project(folder / "curated", server)

    def __missing__(self, scenario: Scenario) -> Truth:
        folder = self._folder / scenario.name.replace(" ", "_")
        self[scenario] = truth = truth_of(scenario, self._curated, folder, self._server)
        return truth


def _trial(number: int) -> Any:
    """Trials of one scenario run in one process, which knows its truth."""
    name = SCENARIOS[number % len(SCENARIOS)].name
    return pytest.param(number, id=f"{name}-{number}", marks=pytest.mark.xdist_group(name))


@pytest.mark.parametrize("number", [_trial(number) for number in range(N_TRIALS)])
def test_killed_commands_store_what_undisturbed_ones_do(
    number: int, server: ForkServer, truths: dict[Scenario, Truth], tmp_path: Path
) -> None:
    scenario = SCENARIOS[number % len(SCENARIOS)]
    rng = np.random.default_rng((SEED, number))
    truth = truths[scenario]
    n_kills, n_projects = 0, 0
    while n_kills < KILLS_PER_TRIAL:
        n_projects += 1
        project = copy_of(truth.start, tmp_path / f"project_{n_projects}")
        print(f"SEED={SEED}, trial {number}: {scenario.name}, in {project.folder}")
        n_kills += _killed(project, scenario, truth, server, rng, KILLS_PER_TRIAL - n_kills)
        assert_as_undisturbed(project, truth, server)
        shutil.rmtree(project.folder)


def _killed(
    project: EmbeddingsProject,
    scenario: Scenario,
    truth: Truth,
    server: ForkServer,
    rng: np.random.Generator,
    most: int,
) -> int:
    """Give a command until it ends, killed at most so many times; how often it was."""
    for n_kills in range(most):
        seconds = float(rng.uniform(0, truth.seconds * (_LATER if n_kills else 1)))
        command = server.start(project.environment, project.folder / "output.txt", *scenario.command)
        code = command.wait(seconds)
        if code is None:
            code = _kill(command, whole_group=bool(rng.integers(2)))
        print(f"  after {seconds:.3f} s: {code}")
        if code != -signal.SIGKILL:
            assert code == 0
            return n_kills
    run_to_its_end(project, server, *scenario.command)
    return most


def _kill(command: ForkedCommand, *, whole_group: bool) -> int | None:
    """Kill a command, with or without the processes that it started."""
    # It may have ended by itself meanwhile.
    with suppress(ProcessLookupError):
        if whole_group:
            os.killpg(command.process, signal.SIGKILL)
        else:
            os.kill(command.process, signal.SIGKILL)
    return command.wait()
