"""The wheel alone: built, installed where nothing of the repository is, used in empty folders: `make test-wheel`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.wheel
REPOSITORY = Path(__file__).parent.parent
DISCOVER = (
    "from dagster.components.core.package_entry import discover_entry_point_package_objects as discover;"
    "import curation_assets; print(curation_assets.__file__, *(key.to_typename() for key in discover()))"
)


@dataclass(frozen=True)
class Installed:
    """An environment that has the package by its wheel only; what it depends on is that of the tests."""

    folder: Path

    def run(self, command: str, *arguments: str, where: Path) -> str:
        """Output of a command, which must succeed; no variable of a project is set."""
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("CURATION_", "DAGSTER_")) and name != "PYTHONPATH"
        }
        done = subprocess.run(
            [str(self.folder / "bin" / command), *arguments],
            cwd=where, env=environment | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{command} {arguments}: {done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("wheel")
    # A copy: setuptools leaves a folder behind, and would pack what an earlier build has left.
    source = folder / "source"
    shutil.copytree(REPOSITORY / "curation_assets", source / "curation_assets")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source / name)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-deps", "--no-index"]
    subprocess.run(
        [*pip, "wheel", *offline, "--no-build-isolation", "--wheel-dir", str(folder), str(source)], check=True
    )
    environment = folder / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    packages = next((environment / "lib").glob("python*")) / "site-packages"
    # The .pth files there, one of which names this repository, are not followed.
    (packages / "tests.pth").write_text(sysconfig.get_path("purelib"))
    [wheel] = folder.glob("*.whl")
    python = str(environment / "bin" / "python")
    subprocess.run([*pip, "--python", python, "install", *offline, str(wheel)], check=True)
    return Installed(environment)


def test_dagster_finds_the_component_of_the_wheel(installed: Installed, tmp_path: Path) -> None:
    file, *components = installed.run("python", "-c", DISCOVER, where=tmp_path).split()
    assert installed.folder in Path(file).parents
    assert "curation_assets.CurationPool" in components


def test_a_project_begins_in_an_empty_folder(installed: Installed, tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("One text.")
    installed.run("curation-assets", "init", "mine", "--source", "text", "--path", "texts", where=tmp_path)
    project = tmp_path / "mine"
    validated = installed.run("curation-assets", "validate", "pools/texts.yaml", where=project)
    assert "pools/texts.yaml: valid; 1 files" in validated
    assert "not made yet" in installed.run("curation-assets", "status", where=project)
    installed.run("python", "-m", "dagster", "definitions", "validate", where=project)


def test_the_demo_runs(installed: Installed, tmp_path: Path) -> None:
    prepared = installed.run("curation-assets", "prepare", "openmoji", "--limit", "60", where=tmp_path)
    assert "pools/emoji.yaml" in prepared
    assert "report:" in installed.run("curation-assets", "run", "--pool", "emoji", where=tmp_path)
    page = tmp_path / "data/curated/emoji/curation_report/curation_report.html"
    assert "<svg" in page.read_text()
    assert "nothing to do" in installed.run("curation-assets", "run", "--pool", "emoji", where=tmp_path)
