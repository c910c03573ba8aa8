"""One runner at a time per pool, whatever state folder it has; see also storage/claims."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from curation_assets.defs.run import locks
from curation_assets.defs.run.locks import only_runner, step_at_work
from curation_assets.errors import PoolBusyError
from curation_assets.project import Home
from curation_assets_tests.projects import make_project, run_command


def homes(folder: Path) -> list[Home]:
    """Two projects that share a storage but not Dagster's state."""
    return [Home(folder, str(folder / "curated"), folder / name) for name in ("here", "there")]


def test_the_claim_belongs_to_the_storage_and_not_to_the_state(tmp_path: Path) -> None:
    here, there = homes(tmp_path)
    with only_runner(here, "p", "a test"):
        with pytest.raises(PoolBusyError, match=r"\(a test\) since"), only_runner(there, "p", "another"):
            pass
        with only_runner(there, "q", "another"):
            pass
    with only_runner(there, "p", "another"):
        pass


def test_a_command_ends_with_code_1_and_says_who_is_at_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project(tmp_path, n_images=12, samples_per_shard=12)
    there = str(tmp_path / "there")
    environment = {**project.environment, "CURATION_STATE": there, "DAGSTER_HOME": there}
    for module in ("runner", "verify"):
        monkeypatch.setattr(f"curation_assets.cli.{module}.PATIENCE_SECONDS", 0.0)
    with only_runner(project.home, "emoji", "a test"):
        for command in (("run",), ("backfill", "--from", "raw_pool"), ("verify", "--repair")):
            code, output = run_command(environment, *command, "--pool", "emoji")
            assert code == 1
            assert output.count("\n") == 1
            assert "pool 'emoji' is already being run by process" in output
            assert "(a test) since" in output


def test_steps_of_one_instance_work_together_and_not_beside_a_runner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "STEP_PATIENCE_SECONDS", 0.0)
    here, there = homes(tmp_path)
    with dg.DagsterInstance.ephemeral() as instance, dg.DagsterInstance.ephemeral() as another:

        def step(home: Home, of: dg.DagsterInstance) -> object:
            # As in a process of its own.
            monkeypatch.setattr(locks, "works_below_a_claim", lambda _: False)
            return step_at_work(home.storage("p"), of, "12345678-9", "embeddings", lambda _: None)

        with step(here, instance), step(here, instance):  # type: ignore[attr-defined]
            what = r"\(step embeddings of run 12345678 in Dagster\)"
            with pytest.raises(PoolBusyError, match=what), step(there, another):  # type: ignore[attr-defined]
                pass
            with pytest.raises(PoolBusyError, match=what), only_runner(there, "p", "x"):
                pass
        with (
            only_runner(there, "p", "a command"),
            pytest.raises(PoolBusyError, match="a command"),
            step(here, instance),  # type: ignore[attr-defined]
        ):
            pass


def test_an_instance_without_tables_is_named_by_its_deployment() -> None:
    def named(organization: str, deployment: str | None) -> str:
        instance: Any = SimpleNamespace(
            run_storage=object(), organization_name=organization, deployment_name=deployment
        )
        return locks._name_of(instance)

    assert named("us", "prod") == named("us", "prod")
    assert len({named("us", "prod"), named("us", "staging"), named("them", "prod"), named("us", None)}) == 4
