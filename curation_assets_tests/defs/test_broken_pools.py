"""A broken pool beside a sound one, in Dagster and on the command line."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from curation_assets import definitions
from curation_assets.defs.jobs import build_jobs
from curation_assets.defs.pool_definitions import build_definitions
from curation_assets.defs.sensors import build_sensor
from curation_assets_tests.projects import SMALL_POOL, Project, environment_of, run_command

BROKEN = dg.AssetKey(["web", "broken_pool"])
PART = "web.yaml: unknown key colour"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    found = Project(tmp_path)
    found.write_pool(SMALL_POOL)
    pools = found.home.pools_folder
    (pools / "web.yaml").write_text((pools / "emoji.yaml").read_text() + "colour: red\n")
    (pools / "emoji (copy).yaml").write_text((pools / "emoji.yaml").read_text())
    (pools / "._emoji.yaml").write_bytes(b"\x00\x05")
    (pools / "old.yaml").mkdir()
    return found


def test_it_is_one_asset_that_fails_with_the_message(project: Project) -> None:
    with environment_of(project.environment):
        repository = definitions.defs().get_repository_def()
    repository.validate_loadable()
    keys = repository.asset_graph.get_all_asset_keys()
    assert {key.path[0] for key in keys} == {"emoji", "web", "emoji_copy"}
    assert [key for key in keys if key.path[0] == "web"] == [BROKEN]
    description = repository.assets_defs_by_key[BROKEN].specs_by_key[BROKEN].description or ""
    assert PART in description.replace("\\", "")
    job = repository.get_implicit_job_def_for_assets([BROKEN])
    assert job is not None
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(instance=instance, asset_selection=[BROKEN], raise_on_error=False)
        assert not result.success
        (check,) = result.get_asset_check_evaluations()
        assert not check.passed
        assert PART in (check.description or "")
        assert "curation-assets validate" in str(check.metadata["remedy"].value)
        (failure,) = [event for event in result.all_events if event.is_step_failure]
        data = failure.step_failure_data.user_failure_data
        assert PART in (data.description or "")
        assert "reload the definitions" in (data.description or "")


def test_its_check_runs_alone(project: Project) -> None:
    with environment_of(project.environment):
        assets = definitions.defs().assets or []
    (broken,) = [asset for asset in assets if isinstance(asset, dg.AssetsDefinition) and BROKEN in asset.keys]
    (check,) = broken.check_keys
    result = dg.materialize([broken], selection=dg.AssetSelection.checks(check))
    assert result.success
    assert [evaluation.passed for evaluation in result.get_asset_check_evaluations()] == [False]


def test_commands_serve_the_sound_pool_and_name_what_is_wrong(project: Project) -> None:
    environment = project.environment
    code, output = run_command(environment, "status")
    assert code == 0
    assert "emoji: 0 shards" in output
    assert f"pool 'web' is broken: {project.home.pools_folder}/{PART}" in output
    assert "pool 'emoji_copy' is broken" in output
    assert "old.yaml is a folder, not a pool" in output
    assert "._emoji" not in output
    assert run_command(environment, "status", "--pool", "emoji")[0] == 0
    sized = ("--rows", "1000", "--dim", "8")
    assert run_command(environment, "plan", "--pool", "emoji", *sized)[0] == 0
    for command in (
        ("run", "--pool", "web"),
        ("status", "--pool", "web"),
        ("plan", "--pool", "web", *sized),
        ("backfill", "--pool", "web", "--from", "level_1"),
        ("explain", "1F600", "--pool", "web"),
        ("validate", str(project.home.pools_folder / "web.yaml")),
    ):
        code, output = run_command(environment, *command)
        assert (code, PART in output) == (2, True), (command, output)
    code, output = run_command(environment, "explain", "1F600")
    assert "(pools searched: emoji; broken and not searched: emoji_copy, web)" in output


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("emoji_2.yaml", "the pool name 'emoji' is also that of emoji.yaml"),
        ("web.yml", "is not read as a pool: name it web.yaml"),
        (".web.yaml", "its name begins with a dot"),
    ],
)
def test_validate_says_that_a_sound_file_is_not_used(tmp_path: Path, name: str, part: str) -> None:
    project = Project(tmp_path)
    project.write_pool(SMALL_POOL)
    path = project.home.pools_folder / name
    path.write_text((path.parent / "emoji.yaml").read_text() + "name: emoji\n")
    code, output = run_command(project.environment, "validate", str(path), "--rows", "1000")
    assert code == 2
    assert part in output


@pytest.mark.parametrize(
    ("setting", "part"), [("seed: 3", "has changed since"), ("colour: 3", "cannot be read")]
)
def test_a_sensor_says_that_its_yaml_has_changed(tmp_path: Path, setting: str, part: str) -> None:
    project = Project(tmp_path)
    project.write_pool(SMALL_POOL)
    spec, home = project.spec, project.home
    sensor = build_sensor(spec, home, build_jobs(spec, home, build_definitions))
    path = home.pools_folder / "emoji.yaml"
    path.write_text(path.read_text() + setting)
    with dg.DagsterInstance.ephemeral() as instance:
        reason = sensor(dg.build_sensor_context(instance=instance))
    assert isinstance(reason, dg.SkipReason)
    assert part in (reason.skip_message or "")
