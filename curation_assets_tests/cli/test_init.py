"""`curation-assets init`: a project in an empty folder."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from curation_assets.cli.init import project_files
from curation_assets.cli.main import cli
from curation_assets.errors import PoolSpecError
from curation_assets.pools.projects.components import component_files
from curation_assets.project import find_home, pools_of

REPOSITORY = Path(__file__).parent.parent.parent


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No project is set, and the current folder is empty."""
    for variable in ("CURATION_HOME", "CURATION_STORAGE", "CURATION_STATE", "DAGSTER_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)


def init(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["init", *arguments])


@pytest.mark.parametrize("source", ["images", "text", "embeddings"])
def test_a_project_has_one_valid_pool_and_what_dagster_needs(tmp_path: Path, source: str) -> None:
    result = init("mine", "--source", source, "--path", "s3://bucket/Web-Photos_2")
    assert result.exit_code == 0, result.output
    home = find_home(tmp_path / "mine")
    pools = pools_of(home)
    assert list(pools.specs) == ["web_photos_2"]
    assert list(pools.problems()) == []
    assert pools.find("web_photos_2").source.path == "s3://bucket/Web-Photos_2"
    assert home.storage_root == str(tmp_path / "mine" / "data" / "curated")
    names = {path.name for path in (tmp_path / "mine").iterdir()}
    assert names == {
        "pools", "dagster.yaml", "workspace.yaml", "pyproject.toml", ".env", ".gitignore", "README.md",
    }  # fmt: skip
    readme = (tmp_path / "mine" / "README.md").read_text()
    assert "curation-assets run --pool web_photos_2" in readme
    assert "$" not in readme


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text("mine")
    (tmp_path / "pools").mkdir()
    (tmp_path / "pools" / "images.yaml").write_text("mine")
    result = init()
    assert isinstance(result.exception, PoolSpecError)
    assert str(result.exception).startswith(
        "pools/images.yaml, dagster.yaml exist already, and nothing is overwritten"
    )
    assert {path.name for path in tmp_path.iterdir()} == {"dagster.yaml", "pools"}


def test_other_files_may_be_there(tmp_path: Path) -> None:
    (tmp_path / "data" / "raw").mkdir(parents=True)
    assert init().exit_code == 0
    assert list(pools_of(find_home(tmp_path)).specs) == ["images"]


def test_a_local_path_is_found_from_where_the_user_is(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.tar").touch()
    (tmp_path / "mine" / "raw").mkdir(parents=True)
    for arguments, path in (
        (("mine", "--path", "photos"), str(tmp_path / "photos")),
        (("mine", "--path", "mine/raw", "--name", "second"), "raw"),
        (("mine", "--path", "not/there", "--name", "third"), "not/there"),
    ):
        files = project_files(Path("mine"), "images", arguments[2], "web")
        assert yaml.safe_load(files["pools/web.yaml"])["source"]["path"] == path
    assert init("mine", "--path", "photos").exit_code == 0
    assert pools_of(find_home(tmp_path / "mine")).find("photos").source.format == "webdataset"


def test_wrong_names_and_secrets_are_refused(tmp_path: Path) -> None:
    assert "--name My Pool" in str(init("--name", "My Pool").exception)
    secret = init("--path", "s3://user:hunter22@bucket/x")
    assert "--path holds credentials" in str(secret.exception)
    assert list(tmp_path.iterdir()) == []


def test_its_dagster_yaml_is_that_of_the_repository(tmp_path: Path) -> None:
    init()
    assert yaml.safe_load((tmp_path / "dagster.yaml").read_text()) == yaml.safe_load(
        (REPOSITORY / "dagster.yaml").read_text()
    )
    assert yaml.safe_load((tmp_path / "workspace.yaml").read_text()) == yaml.safe_load(
        (REPOSITORY / "workspace.yaml").read_text()
    )


def test_dg_finds_components_among_its_pools(tmp_path: Path) -> None:
    """`dg` looks for the root module and for its folder of definitions before it loads anything."""
    init()
    project = tomllib.loads((tmp_path / "pyproject.toml").read_text())["tool"]["dg"]["project"]
    assert (tmp_path / project["root_module"]).is_dir()
    assert project["code_location_target_module"] == "curation_assets.definitions"
    (tmp_path / "pools" / "web").mkdir()
    (tmp_path / "pools" / "web" / "defs.yaml").write_text("type: curation_assets.CurationPool\n")
    assert component_files(tmp_path) == [tmp_path / "pools" / "web" / "defs.yaml"]
