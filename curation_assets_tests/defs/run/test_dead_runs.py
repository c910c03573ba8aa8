"""Runs of dead processes, and the pool slots they held."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import dagster as dg

from curation_assets.defs.run.dead_runs import (
    PROCESS_TAG,
    close_dead_runs,
    free_leaked_slots,
    process_tag,
)
from curation_assets.defs.run.tags import PARENT_RUN_TAG, POOL_TAG
from curation_assets.storage.claims.processes import process_name


def test_runs_of_dead_processes_are_closed_and_others_left() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    host = process_name().partition("@")[2]
    with dg.DagsterInstance.ephemeral() as instance:
        mine = process_tag()[PROCESS_TAG]
        # The third process has our number, but started at another time: before the machine was restarted.
        owners = (
            f"{gone.pid}@{host} 1",
            mine,
            f"{process_name()} 1",
            process_name(),
            f"{gone.pid}@elsewhere 1",
        )
        runs = [
            instance.create_run_for_job(_job, tags={PROCESS_TAG: owner}, status=dg.DagsterRunStatus.STARTED)
            for owner in owners
        ]
        assert close_dead_runs(instance) == 2
        statuses = [instance.get_run_by_id(run.run_id).status for run in runs]  # type: ignore[union-attr]
    failed, started = dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.STARTED
    assert statuses == [failed, started, failed, started, started]


def test_runs_that_are_executed_again_do_not_end_with_the_process_of_the_first_time() -> None:
    host = process_name().partition("@")[2]
    with dg.DagsterInstance.ephemeral() as instance:
        ended = instance.create_run_for_job(_job, status=dg.DagsterRunStatus.FAILURE)
        copied = {
            PROCESS_TAG: f"999999999@{host} 1",
            PARENT_RUN_TAG: ended.run_id,
            "dagster/parent_run_id": ended.run_id,
        }
        waiting = instance.create_run_for_job(_job, tags=copied, status=dg.DagsterRunStatus.NOT_STARTED)
        begun = instance.create_run_for_job(
            _job, tags={**copied, **process_tag()}, status=dg.DagsterRunStatus.STARTED
        )
        assert close_dead_runs(instance) == 0
        statuses = [instance.get_run_by_id(run.run_id).status for run in (waiting, begun)]  # type: ignore[union-attr]
    assert statuses == [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTED]


def test_waves_of_a_run_that_has_ended_are_closed() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        parents = [
            instance.create_run_for_job(_job, status=status)
            for status in (dg.DagsterRunStatus.CANCELED, dg.DagsterRunStatus.STARTED)
        ]
        waves = [
            instance.create_run_for_job(
                _job, tags={PARENT_RUN_TAG: parent.run_id} | process_tag(), status=dg.DagsterRunStatus.STARTED
            )
            for parent in parents
        ]
        assert close_dead_runs(instance) == 0, "waves are not counted"
        statuses = [instance.get_run_by_id(run.run_id).status for run in waves]  # type: ignore[union-attr]
    assert statuses == [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.STARTED]


@dg.job
def _job() -> None: ...


def test_slots_of_our_ended_runs_are_freed_and_all_others_stay(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text(
        "concurrency:\n  pools:\n    granularity: op\n    default_limit: 6\n"
    )
    started, failed = dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.FAILURE
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        storage = instance.event_log_storage
        storage.initialize_concurrency_limit_to_default("gpu")

        def holder(status: dg.DagsterRunStatus, op: str, tags: dict[str, str]) -> str:
            run_id = instance.create_run_for_job(_job, tags=tags, status=status).run_id
            assert storage.claim_concurrency_slot("gpu", run_id, op).is_claimed
            return run_id

        living = holder(started, "web__embeddings", {POOL_TAG: "web"})
        tagged = holder(failed, "other__embeddings", {POOL_TAG: "other"})
        by_hand = holder(failed, "web__embeddings", {})
        theirs = holder(failed, "train", {"team": "models"})
        # Runs that were deleted.
        assert storage.claim_concurrency_slot("gpu", "gone", "web__embeddings").is_claimed
        assert storage.claim_concurrency_slot("gpu", "gone too", "train").is_claimed
        assert free_leaked_slots(instance, {"web__embeddings", "web__selection"}) == 3
        left = {slot.run_id for slot in storage.get_concurrency_info("gpu").claimed_slots}
    assert left == {living, theirs, "gone too"}
    assert not {tagged, by_hand} & left


def test_a_dead_run_of_somebody_else_is_not_ours_to_close() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        theirs = instance.create_run_for_job(
            _job, tags={"pid": "999999999"}, status=dg.DagsterRunStatus.STARTED
        )
        assert close_dead_runs(instance, {"_job"}) == 0
        assert instance.get_run_by_id(theirs.run_id).status == dg.DagsterRunStatus.STARTED  # type: ignore[union-attr]
