"""The long form of `test_clicking.py`: every asset first, by asset backfills that the real daemon carries out.

Each asset has a pool of its own, a copy of one that was curated and whose level 2 was changed afterwards, so that the
daemon walks all backfills at the same time. `CURATION_FIRST_CLICKS=level_2_initial,ledger` tries only some.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from curation_assets.defs.partitions import partitions_name
from curation_assets.graph.steps import pool_steps
from curation_assets.pools import load_pool_spec
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets_tests.asset_backfills import follow
from curation_assets_tests.projects import make_project, spec_of
from curation_assets_tests.test_clicking import CHANGED, SHARDS, digests
from curation_assets_tests.ui.dev_server import REPOSITORY, DevServer, dev_server, wait_for

pytestmark = [pytest.mark.ui, pytest.mark.slow]

STEPS = pool_steps(spec_of())
CHOSEN = os.environ.get("CURATION_FIRST_CLICKS")
FIRST = CHOSEN.split(",") if CHOSEN else list(STEPS)
LAUNCH = """mutation Launch($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
  __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message }
} }"""
STATUS = """query Status($id: String!) { partitionBackfillOrError(backfillId: $id) {
  ... on PartitionBackfill { status }
} }"""


def pool_of(first: str) -> str:
    return f"emoji_{first}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
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
                instance.add_dynamic_partitions(partitions_name(pool_of(first)), SHARDS)
        yield running


@pytest.fixture(scope="module")
def ended(server: DevServer) -> dict[str, tuple[str, str]]:
    """By first asset: id and final status of its backfill."""
    ids = {first: launch(server, first) for first in FIRST}
    return {
        first: (
            found,
            wait_for(f"the backfill from {first}", lambda found=found: status(server, found), 1500, 5),
        )
        for first, found in ids.items()
    }


def launch(server: DevServer, first: str) -> str:
    """Start what "select downstream, materialize, all partitions" starts."""
    chosen = follow(STEPS, first)
    params: dict[str, Any] = {"assetSelection": [{"path": [pool_of(first), name]} for name in chosen]}
    params |= (
        {"partitionNames": SHARDS}
        if any(STEPS[name].partitioned for name in chosen)
        else {"allPartitions": True}
    )
    answer = server.graphql(LAUNCH, params=params)["launchPartitionBackfill"]
    assert answer["__typename"] == "LaunchBackfillSuccess", answer
    return str(answer["backfillId"])


def status(server: DevServer, backfill: str) -> str | None:
    """The status of a backfill that has ended."""
    found = str(server.graphql(STATUS, id=backfill)["partitionBackfillOrError"]["status"])
    return found if found.startswith(("COMPLETED", "FAILED", "CANCELED")) else None


@pytest.fixture(scope="module")
def from_scratch(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str | None], str]:
    project = make_project(tmp_path_factory.mktemp("scratch"))
    project.write_pool(CHANGED)
    assert project.run("run", "--pool", "emoji")[0] == 0
    return digests(project)


@pytest.mark.parametrize("first", FIRST)
def test_a_backfill_is_as_from_scratch_or_red_with_the_remedy(
    first: str,
    server: DevServer,
    ended: dict[str, tuple[str, str]],
    from_scratch: dict[tuple[str, str | None], str],
) -> None:
    found, state = ended[first]
    if first in follow(STEPS, "level_2_initial")[1:]:
        assert state == "COMPLETED_FAILED"
        with server.instance() as instance:
            said = failures(instance, found)
        assert said
        assert all(
            "materialize level_2_initial and everything downstream of it first" in text for text in said
        ), said
        return
    assert state == "COMPLETED_SUCCESS"
    folder = server.project.folder
    spec = load_pool_spec(folder / "pools" / f"{pool_of(first)}.yaml")
    storage = PoolStorage(server.project.home.storage_root, spec.name)
    # The card of a release names its pool.
    expected = {output: digest for output, digest in from_scratch.items() if output[0] != "dataset_release"}
    found_digests = {(name, key): storage.output(name, key).require_facts().digest for name, key in expected}
    assert found_digests == expected
    assert storage.output("dataset_release").facts() is not None


def failures(instance: dg.DagsterInstance, backfill: str) -> list[str]:
    """What the failed steps of a backfill's runs say."""
    said = []
    for run in instance.get_runs(dg.RunsFilter(tags={"dagster/backfill": backfill})):
        for record in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE):
            event = record.dagster_event
            details = event.step_failure_data.user_failure_data if event else None
            said.append(str(details.description) if details else str(event))
    return said
