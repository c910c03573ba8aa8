"""The component: what it declares is what a pool file declares, and wrong settings are named with file and line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
import pytest
import yaml
from dagster.components.core.snapshot import get_package_entry_snap
from dagster_shared.serdes.objects import EnvRegistryKey

import curation_assets
from curation_assets.components.pool import CurationPool
from curation_assets.components.schema import attributes_schema
from curation_assets.defs.pool_definitions import build_definitions
from curation_assets.errors import PoolSpecError
from curation_assets.pools import PoolSpec
from curation_assets.project import find_home
from curation_assets_tests.components.dg_projects import EMBEDDED, DgProject, make_dg_project
from curation_assets_tests.projects import run_command


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DgProject:
    monkeypatch.syspath_prepend(str(tmp_path / "src"))
    for variable in ("CURATION_HOME", "CURATION_STORAGE", "CURATION_STATE"):
        monkeypatch.delenv(variable, raising=False)
    return make_dg_project(tmp_path)


def spec_of(definitions: dg.Definitions, pool: str) -> set[str]:
    """Names of everything that is defined for a pool."""
    repository = definitions.get_repository_def()
    names = {key.to_user_string() for key in repository.asset_graph.get_all_asset_keys()}
    names |= {key.to_user_string() for key in repository.asset_graph.asset_check_keys}
    names |= {job for job in repository.job_names if not job.startswith("__")}
    names |= {sensor.name for sensor in repository.sensor_defs}
    names |= {schedule.name for schedule in repository.schedule_defs}
    return {name for name in names if name.startswith(pool)}


def changed(**changes: Any) -> dict[str, Any]:
    return {**EMBEDDED, **changes}


def refused(project: DgProject, *pools: dict[str, Any] | str) -> str:
    """The messages with which Dagster refuses to load the pools."""
    project.write("web", *pools)
    with pytest.raises(Exception) as raised:  # noqa: PT011 - of Dagster's own kinds
        project.load()
    messages, error = [], raised.value
    while error is not None:
        messages.append(str(error))
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return "\n".join(messages)


def test_the_component_is_found_without_importing_dagster_before_it_is_asked_for() -> None:
    assert "CurationPool" in dir(curation_assets)
    assert curation_assets.CurationPool is CurationPool
    with pytest.raises(AttributeError, match="no attribute 'CurationPol'"):
        curation_assets.CurationPol  # type: ignore[attr-defined]  # noqa: B018


def test_dagster_describes_the_component() -> None:
    """As every code location does of what is installed: a mistake here would stop all of them."""
    snap = get_package_entry_snap(EnvRegistryKey("curation_assets", "CurationPool"), CurationPool)
    assert snap.summary == CurationPool.__doc__.partition("\n")[0]  # type: ignore[union-attr]
    schemas = [data.schema for data in snap.feature_data]  # type: ignore[attr-defined]
    assert attributes_schema() in schemas
    assert any("path" in schema["properties"] for schema in schemas)


def test_a_component_defines_what_a_pool_file_defines(project: DgProject) -> None:
    project.write("web", EMBEDDED)
    declared = spec_of(project.load(), "web")
    built = build_definitions(
        [PoolSpec.model_validate({"name": "web", **EMBEDDED})], find_home(project.folder)
    )
    assert declared == spec_of(built, "web")
    assert {"web/dataset_release", "web_curate", "web_arrivals", "web_nightly"} <= declared


def test_pools_are_named_after_their_folder_or_by_their_key(project: DgProject) -> None:
    project.write("web", EMBEDDED, changed(name="other"))
    project.write("deeper/photos", EMBEDDED)
    definitions = project.load()
    for pool in ("web", "other", "photos"):
        assert f"{pool}/selection" in spec_of(definitions, pool)


def test_what_is_wrong_is_named_with_its_file_and_line(project: DgProject) -> None:
    source = {**EMBEDDED["source"], "pth": "x"}
    words = refused(project, changed(source=source, targets=[{"name": "small", "fraction": 1.5}], levles=1))
    path = project.defs / "web" / "defs.yaml"
    lines = path.read_text().splitlines()
    for key, message in {
        "pth": "unknown key source.pth (value 'x'); valid keys are: ",
        "fraction": "targets[0].fraction: Input should be less than or equal to 1, got 1.5",
        "levles": "unknown key levles (value 1)",
    }.items():
        line = next(number for number, text in enumerate(lines, start=1) if key in text)
        assert message in words
        assert f"{path}:{line}" in words


def test_what_is_missing_is_named_with_the_line_of_its_group(project: DgProject) -> None:
    words = refused(project, changed(source={"format": "embeddings", "encoder": "x"}))
    assert "source.path is missing" in words
    assert f"{project.defs / 'web' / 'defs.yaml'}:3" in words


def test_a_component_without_attributes_is_told_what_it_needs(project: DgProject) -> None:
    assert "a pool needs source, targets" in refused(project, "type: curation_assets.CurationPool\n")


def test_secrets_are_not_repeated(project: DgProject) -> None:
    uri = "s3://user:hunter22@host/bucket"
    assert "credentials" in (words := refused(project, changed(source={**EMBEDDED["source"], "path": uri})))
    assert "hunter22" not in words


def test_a_key_that_is_written_twice_is_refused(project: DgProject) -> None:
    text = yaml.safe_dump({"type": "curation_assets.CurationPool", "attributes": EMBEDDED}, sort_keys=False)
    assert "key seed is written in line" in refused(project, f"{text}  seed: 1\n  seed: 2\n")


def test_templates_are_rendered_and_other_texts_stay_texts(
    project: DgProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUCKET", "s3://bucket")
    monkeypatch.setenv("SEED", "7")
    source = {**EMBEDDED["source"], "path": "{{ env.BUCKET }}/web", "id_field": "1"}
    project.write("web", changed(source=source, seed="{{ env('SEED') }}"))
    component = _component(project)
    assert component.spec.source.path == "s3://bucket/web"
    assert component.spec.source.id_field == "1"  # type: ignore[union-attr]
    assert component.spec.seed == 7
    monkeypatch.setenv("SEED", "seven")
    assert "seed: Input should be a valid integer" in refused(project, changed(seed="{{ env.SEED }}"))


def _component(project: DgProject) -> CurationPool:
    [component] = dg.ComponentTree.for_project(project.folder).get_all_components(CurationPool)
    return component


def test_a_pool_file_of_the_same_name_is_refused(project: DgProject) -> None:
    (project.folder / "pools").mkdir()
    (project.folder / "pools" / "web.yaml").write_text(yaml.safe_dump(EMBEDDED))
    assert "the pool name 'web' is also that of a file" in refused(project, EMBEDDED)


def test_code_may_declare_a_component(project: DgProject) -> None:
    spec = PoolSpec.model_validate({"name": "coded", **EMBEDDED})
    (project.defs / "coded.py").write_text(
        "import dagster as dg\nfrom curation_assets import CurationPool\nfrom curation_assets.pools import PoolSpec\n"
        f"@dg.component_instance\ndef load(context):\n"
        f"    return CurationPool(PoolSpec.model_validate({spec.model_dump()!r}))\n"
    )
    assert "coded/selection" in spec_of(project.load(), "coded")


def test_the_command_line_and_dagster_curate_one_and_the_same_pool(project: DgProject) -> None:
    raw = project.folder / "data" / "raw" / "web"
    raw.mkdir(parents=True)
    rows = np.random.default_rng(0).normal(size=(120, 8)).astype(np.float32)
    np.save(raw / "a.npy", rows)
    pl.DataFrame({"n": range(len(rows))}).write_parquet(raw / "a.parquet")
    project.write("web", EMBEDDED)
    home = find_home(project.folder)
    environment = {**home.environment, "DAGSTER_HOME": str(home.dagster_state)}
    code, output = run_command(environment, "run", "--pool", "web", "--shards", "a")
    assert code == 0, output
    files = [
        path for path in Path(home.storage_root).rglob("*") if path.is_file() and "embeddings" in str(path)
    ]
    written = {path: path.stat().st_mtime_ns for path in files}
    assert written
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("web_shards", ["a"])
        job = project.load().resolve_implicit_global_asset_job_def()
        key = dg.AssetKey(["web", "embeddings"])
        assert job.execute_in_process(instance=instance, asset_selection=[key], partition_key="a").success
    assert {path: path.stat().st_mtime_ns for path in files} == written, "Dagster found them up to date"


def test_a_storage_in_pyproject_is_that_of_the_project(
    project: DgProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (project.folder / "pyproject.toml").open("a") as file:
        file.write('[tool.curation_assets]\nstorage = "elsewhere"\n')
    assert find_home(project.folder).storage_root == str(project.folder / "elsewhere")
    monkeypatch.setenv("CURATION_STORAGE", "s3://bucket/curated")
    assert find_home(project.folder).storage_root == "s3://bucket/curated"
    monkeypatch.delenv("CURATION_STORAGE")
    (project.folder / "pyproject.toml").write_text("[tool.curation_assets]\nstorage = 3\n")
    with pytest.raises(PoolSpecError, match=r"tool.curation_assets.storage is 3: name a folder"):
        find_home(project.folder)
