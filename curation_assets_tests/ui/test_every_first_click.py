"""The long form of `test_clicking.py`: every asset first, in every way, carried out by the real daemon.

Each asset has a pool of its own, a copy of one that was curated and whose level 2 was changed afterwards, so that the
daemon works on all pools at the same time. `CURATION_FIRST_CLICKS=level_2_initial,ledger` tries only some, in three
minutes; all take twenty.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from curation_assets.defs.run.job_names import recluster_job
from curation_assets.graph.freshness import Freshness
from curation_assets.graph.steps import pool_steps
from curation_assets.pools import load_pool_spec
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets_tests.asset_backfills import follow
from curation_assets_tests.projects import make_project, materialized, run_command, spec_of
from curation_assets_tests.test_clicking import CHANGED, SHARDS, digests
from curation_assets_tests.ui.dev_server import REPOSITORY, DevServer, dev_server, environment, wait_for
from curation_assets_tests.ui.launching import end_of, errors, launch, reexecute

pytestmark = [pytest.mark.ui, pytest.mark.slow]

STEPS = pool_steps(spec_of())
CHOSEN = os.environ.get("CURATION_FIRST_CLICKS")
FIRST = CHOSEN.split(",") if CHOSEN else list(STEPS)
LATE = follow(STEPS, "level_2_initial")[1:]
"""What is refused until level_2_initial is made."""
STUCK = [
    step
    for step in STEPS
    if "level_2_initial" not in follow(STEPS, step) and set(LATE) & set(follow(STEPS, step))
]
"""From where what follows is refused: level_1_assign too, since the tree after it reads level 2."""
REMEDY = " first, or run the job "
BACKFILL = """mutation Launch($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
  __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message }
} }"""
STATUS = """query Status($id: String!) { partitionBackfillOrError(backfillId: $id) {
  ... on PartitionBackfill { status }
} }"""
_LONGEST_BACKFILL = 1800


@dataclass(frozen=True)
class Ended:
    """How a click ended."""

    is_green: bool
    said: list[str]
    """By the failed steps of its runs."""
    run_ids: list[str]
    wrong: set[tuple[str, str | None]]
    """Outputs that the runs showed green, and that are not of the settings of now."""


def pool_of(first: str) -> str:
    return f"emoji_{first}"


def storage_of(server: DevServer, first: str) -> PoolStorage:
    return PoolStorage(server.project.home.storage_root, pool_of(first))


@pytest.fixture(scope="module")
def clicked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    """Copies of a curated pool, changed, under a server of their own."""
    project = make_project(tmp_path_factory.mktemp("clicks"))
    assert project.run("run", "--pool", "emoji")[0] == 0
    folder = project.folder
    for name in ("dagster.yaml", "workspace.yaml"):
        shutil.copy(REPOSITORY / name, folder / name)
    curated = Path(project.home.storage_root)
    for first in FIRST:
        shutil.copytree(curated / "emoji", curated / pool_of(first))
        (folder / "pools" / f"{pool_of(first)}.yaml").write_text(yaml.safe_dump(CHANGED, sort_keys=False))
    with dev_server(project) as running:
        with running.instance() as instance:
            for first in FIRST:
                instance.add_dynamic_partitions(f"{pool_of(first)}_shards", SHARDS)
        yield running


@pytest.fixture(scope="module")
def from_scratch(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str | None], str]:
    project = make_project(tmp_path_factory.mktemp("scratch"))
    project.write_pool(CHANGED)
    assert project.run("run", "--pool", "emoji")[0] == 0
    # The card of a release names its pool.
    return {place: digest for place, digest in digests(project).items() if place[0] != "dataset_release"}


@pytest.fixture(scope="module")
def alone(clicked: DevServer) -> dict[str, Ended]:
    """*Materialize* of the asset alone, over all shards."""
    run_ids = {first: launch(clicked, [first], {}, pool=pool_of(first)) for first in FIRST}
    return {
        first: judged(clicked, first, end_of(clicked, found) == "SUCCESS", [found])
        for first, found in run_ids.items()
    }


@pytest.fixture(scope="module")
def over_one(clicked: DevServer, alone: dict[str, Ended]) -> dict[str, Ended]:
    """A backfill of the asset and all that follows, over one shard."""
    return backfilled(clicked, lambda first: {"partitionNames": ["00001"]})


@pytest.fixture(scope="module")
def over_all(clicked: DevServer, over_one: dict[str, Ended]) -> dict[str, Ended]:
    """The same over all shards."""
    return backfilled(clicked, lambda first: {"partitionNames": SHARDS})


def backfilled(server: DevServer, partitions: Callable[[str], dict[str, Any]]) -> dict[str, Ended]:
    ids = {}
    for first in FIRST:
        chosen = follow(STEPS, first)
        params: dict[str, Any] = {"assetSelection": [{"path": [pool_of(first), name]} for name in chosen]}
        shards = any(STEPS[name].partitioned for name in chosen)
        params |= partitions(first) if shards else {"allPartitions": True}
        answer = server.graphql(BACKFILL, params=params)["launchPartitionBackfill"]
        assert answer["__typename"] == "LaunchBackfillSuccess", answer
        ids[first] = str(answer["backfillId"])
    ended = {}
    for first, found in ids.items():
        state = wait_for(
            f"the backfill from {first}", lambda found=found: status(server, found), _LONGEST_BACKFILL, 5
        )
        with server.instance() as instance:
            runs = instance.get_runs(dg.RunsFilter(tags={"dagster/backfill": found}))
        ended[first] = judged(server, first, state == "COMPLETED_SUCCESS", [run.run_id for run in runs])
    return ended


def status(server: DevServer, backfill: str) -> str | None:
    """The status of a backfill that has ended."""
    found = str(server.graphql(STATUS, id=backfill)["partitionBackfillOrError"]["status"])
    return found if found.startswith(("COMPLETED", "FAILED", "CANCELED")) else None


def judged(server: DevServer, first: str, is_green: bool, run_ids: list[str]) -> Ended:
    storage = storage_of(server, first)
    spec = load_pool_spec(server.project.home.pools_folder / f"{pool_of(first)}.yaml")
    outdated = Freshness(storage, pool_steps(spec), storage.shards()).outdated()
    with server.instance() as instance:
        green = materialized(instance, run_ids)
    wrong = {(name, key) for name, key in green if key in outdated.get(name, {})}
    return Ended(is_green, [said for run_id in run_ids for said in errors(server, run_id)], run_ids, wrong)


@pytest.mark.parametrize("first", FIRST)
def test_alone(first: str, alone: dict[str, Ended]) -> None:
    found = alone[first]
    assert not found.wrong
    assert found.is_green == (first not in LATE), found.said
    assert all("materialize level_2_initial and everything downstream" in said for said in found.said), (
        found.said
    )


@pytest.mark.parametrize("first", FIRST)
def test_a_backfill_over_one_shard(first: str, over_one: dict[str, Ended]) -> None:
    found = over_one[first]
    assert not found.wrong
    assert not found.is_green, "other shards are of the old tree"
    assert found.said
    assert all(REMEDY in said for said in found.said), found.said


@pytest.mark.parametrize("first", FIRST)
def test_a_backfill_over_all_shards(
    first: str,
    clicked: DevServer,
    over_all: dict[str, Ended],
    from_scratch: dict[tuple[str, str | None], str],
) -> None:
    found = over_all[first]
    assert not found.wrong
    assert found.is_green == (first not in STUCK), found.said
    if found.is_green:
        assert_as_from_scratch(clicked, first, from_scratch)
    else:
        assert found.said
        assert all(REMEDY in said for said in found.said), found.said


@pytest.mark.parametrize("first", FIRST)
def test_the_command_line_then_the_job_and_the_failed_run_again(
    first: str,
    clicked: DevServer,
    alone: dict[str, Ended],
    over_all: dict[str, Ended],
    from_scratch: dict[tuple[str, str | None], str],
) -> None:
    pool = pool_of(first)
    code, output = run_command(environment(clicked.project), "backfill", "--pool", pool, "--from", first)
    assert code == (1 if first in STUCK else 0), output
    if first in STUCK:
        assert REMEDY in " ".join(output.split()), output
        job = launch(clicked, [], {}, pool=pool, job=recluster_job(pool, 2))
        assert end_of(clicked, job) == "SUCCESS"
        if first in LATE:
            assert end_of(clicked, reexecute(clicked, alone[first].run_ids[0])) == "SUCCESS"
    assert_as_from_scratch(clicked, first, from_scratch)


def assert_as_from_scratch(
    server: DevServer, first: str, expected: dict[tuple[str, str | None], str]
) -> None:
    storage = storage_of(server, first)
    assert {place: storage.output(*place).require_facts().digest for place in expected} == expected
    assert storage.output("dataset_release").facts() is not None
