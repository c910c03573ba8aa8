"""Dagster's runs, events and schedules in a real PostgreSQL: the command line works as it does with SQLite."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
from pathlib import Path

import dagster as dg
import pytest
import yaml

from curation_assets.defs.run.event_log import open_instance
from curation_assets.errors import CurationError
from curation_assets_tests.projects import Project, make_project, materialized

pytestmark = pytest.mark.postgres


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, postgres_url: str) -> Project:
    """A curated project whose instance names PostgreSQL."""
    project = make_project(tmp_path_factory.mktemp("postgres"))
    config = project.home.dagster_state / "dagster.yaml"
    settings = yaml.safe_load(config.read_text())
    settings["storage"] = {"postgres": {"postgres_url": postgres_url}}
    config.write_text(yaml.safe_dump(settings))
    code, output = project.run("run", "--pool", "emoji")
    assert code == 0, output
    return project


def test_every_run_and_event_is_in_postgres_and_nothing_in_sqlite(project: Project) -> None:
    state = project.home.dagster_state
    assert not [path for path in state.rglob("*") if path.suffix in (".db", ".sqlite")]
    with project.instance() as instance:
        assert type(instance.event_log_storage).__name__ == "PostgresEventLogStorage"
        assert type(instance.run_storage).__name__ == "PostgresRunStorage"
        runs = instance.get_runs()
        assert runs
        assert all(run.status is dg.DagsterRunStatus.SUCCESS for run in runs)
        shards = [shard.key for shard in project.storage.shards()]
        assert sorted(instance.get_dynamic_partitions("emoji_shards")) == shards
        for asset in ("raw_pool", "embeddings", "level_1_assign", "ledger"):
            assert instance.get_materialized_partitions(dg.AssetKey(["emoji", asset])) == set(shards), asset
        made = materialized(instance, [run.run_id for run in runs])
        assert ("curation_report", None) in made
        [check] = instance.event_log_storage.get_asset_check_execution_history(
            dg.AssetCheckKey(dg.AssetKey(["emoji", "selection"]), "targets_are_exact"), limit=1
        )
        assert check.evaluation is not None
        assert check.evaluation.passed


def test_the_selection_is_the_one_of_sqlite(project: Project, finished: Project) -> None:
    assert project.selection_bytes() == finished.selection_bytes()


def test_a_second_run_does_nothing_and_status_says_so(project: Project) -> None:
    before = project.modified_times()
    with project.instance() as instance:
        n_runs = instance.get_runs_count()
        code, output = project.run("run", "--pool", "emoji")
        assert code == 0
        assert "nothing to do" in output
        assert instance.get_runs_count() == n_runs
    assert project.modified_times() == before
    code, output = project.run("status", "--pool", "emoji")
    assert code == 0, output
    rows = re.findall(r"(\w+)\s*│\s*(\d+)/(\d+)", output)
    assert len(rows) > 15
    assert all(made == wanted for _, made, wanted in rows), output


def test_failed_shards_are_found_in_its_events(project: Project) -> None:
    output = project.storage.output("embeddings", "00001")
    # A folder where the file belongs: the shard cannot be stored.
    output.path("facts.json").unlink()
    output.path("npy").unlink()
    blocked = Path(str(output.path("npy")))
    (blocked / "in the way").mkdir(parents=True)
    code, text = project.run("run", "--pool", "emoji")
    assert code == 1, text
    assert "1 of 1 shards failed; the others are kept" in " ".join(text.split())
    shutil.rmtree(blocked)
    code, text = project.run("backfill", "--pool", "emoji", "--failed")
    assert code == 0, text
    assert "updated for 1 shard in" in " ".join(text.split())


def test_the_partitions_of_a_step_are_written_together(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in project.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("DAGSTER_EVENT_BATCH_SIZE", raising=False)
    with open_instance() as instance:
        assert os.environ["DAGSTER_EVENT_BATCH_SIZE"] == "1000"
        batches: list[int] = []
        storage = instance.event_log_storage
        real = storage.store_event_batch
        monkeypatch.setattr(
            storage, "store_event_batch", lambda events: batches.append(len(events)) or real(events)
        )
        keys = [f"{i:02}" for i in range(7)]
        instance.add_dynamic_partitions("batched", keys)

        @dg.asset(
            partitions_def=dg.DynamicPartitionsDefinition(name="batched"),
            backfill_policy=dg.BackfillPolicy.single_run(),
        )
        def rows() -> dg.MaterializeResult:
            return dg.MaterializeResult()

        tags = {"dagster/asset_partition_range_start": "00", "dagster/asset_partition_range_end": "06"}
        assert dg.materialize([rows], instance=instance, tags=tags).success
        assert instance.get_materialized_partitions(rows.key) == set(keys)
        assert 7 in batches


def test_a_url_without_a_driver_is_refused_with_the_remedy(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if importlib.util.find_spec("psycopg"):
        pytest.skip("psycopg is installed: `postgresql://` works")
    config = (project.home.dagster_state / "dagster.yaml").read_text()
    (tmp_path / "dagster.yaml").write_text(config.replace("postgresql+psycopg2", "postgresql"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with pytest.raises(CurationError, match=r"Write `postgresql\+psycopg2`"):
        open_instance()
