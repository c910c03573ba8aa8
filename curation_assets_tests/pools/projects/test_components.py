"""Pools of components, as the command line finds and reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from curation_assets.errors import PoolSpecError
from curation_assets.project import find_home, is_in_folder, pools_of, why_not_current
from curation_assets_tests.components.dg_projects import EMBEDDED, make_dg_project


def test_components_are_pools_of_the_project(tmp_path: Path) -> None:
    project = make_dg_project(tmp_path)
    project.write("web", EMBEDDED, {**EMBEDDED, "name": "other"})
    project.write("theirs", "type: dagster.DefinitionsComponent\nattributes: {path: x.py}\n")
    pools = pools_of(find_home(tmp_path))
    assert set(pools.specs) == {"web", "other"}
    assert pools.find("web").source.path == "data/raw/web"
    assert list(pools.problems()) == []


@pytest.mark.parametrize(
    ("file", "text", "defs"),
    [
        ("dg.toml", 'directory_type = "project"\n[project]\nroot_module = "theirs"\n', "theirs/defs"),
        ("pyproject.toml", '[tool.dg.project]\nroot_module = "x"\ndefs_module = "x.y"\n', "src/x/y"),
        ("pyproject.toml", '[tool.dg.project]\ndefs_module = "pools"\n', "pools"),
    ],
)
def test_their_folder_is_found_as_dg_finds_it(tmp_path: Path, file: str, text: str, defs: str) -> None:
    (tmp_path / defs / "web").mkdir(parents=True)
    (tmp_path / file).write_text(text)
    project = make_dg_project(tmp_path / "template")
    project.write("web", EMBEDDED).rename(tmp_path / defs / "web" / "defs.yml")
    assert set(pools_of(find_home(tmp_path)).specs) == {"web"}


def test_a_broken_component_is_the_problem_of_its_own_pool(tmp_path: Path) -> None:
    project = make_dg_project(tmp_path)
    project.write("web", EMBEDDED)
    path = project.write("bad", {**EMBEDDED, "levles": 1})
    project.write("worse", "type: curation_assets.CurationPool\nattributes: [\n")
    pools = pools_of(find_home(tmp_path))
    assert set(pools.specs) == {"web"}
    assert set(pools.broken) == {"bad", "worse"}
    with pytest.raises(PoolSpecError, match=f"^{path}: unknown key levles"):
        pools.find("bad")


def test_one_name_is_of_one_pool(tmp_path: Path) -> None:
    project = make_dg_project(tmp_path)
    (tmp_path / "pools").mkdir()
    project.write("web", EMBEDDED).rename(tmp_path / "web.yaml")
    (tmp_path / "pools" / "web.yaml").write_text(
        (tmp_path / "web.yaml").read_text().partition("attributes:\n")[2].replace("\n  ", "\n").lstrip()
    )
    project.write("web", {**EMBEDDED, "seed": 1})
    project.write("twice", EMBEDDED, EMBEDDED)
    pools = pools_of(find_home(tmp_path))
    assert pools.find("web").seed == 0, "the file keeps its name"
    messages = [entry.message for entry in pools.broken.values()]
    assert [message.partition("is also that of ")[2].partition(":")[0] for message in messages] == [
        "another component", "another component", "a file of the folder of the pools",
    ]  # fmt: skip


def test_templates_read_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = make_dg_project(tmp_path)
    monkeypatch.setenv("SEED", "7")
    monkeypatch.delenv("NOWHERE", raising=False)
    source = {**EMBEDDED["source"], "path": "{{ env('NOWHERE', 'data') }}/web", "id_field": "1"}
    project.write("web", {**EMBEDDED, "source": source, "seed": "{{ env.SEED }}"})
    spec = pools_of(find_home(tmp_path)).find("web")
    assert (spec.source.path, spec.seed) == ("data/web", 7)
    assert spec.source.id_field == "1"  # type: ignore[union-attr]


def test_other_templates_are_for_dagster(tmp_path: Path) -> None:
    project = make_dg_project(tmp_path)
    path = project.write("web", {**EMBEDDED, "seed": "{{ our_seed }}"})
    project.write("unset", {**EMBEDDED, "seed": "{{ env('NOWHERE_AT_ALL') }}"})
    pools = pools_of(find_home(tmp_path))
    assert pools.specs == {}
    assert pools.broken == {}
    assert f"{path} is for Dagster alone: {path}: the command line reads `env`" in "\n".join(pools.problems())
    with pytest.raises(PoolSpecError, match="NOWHERE_AT_ALL is not set"):
        pools.find("unset")


def test_an_edit_is_noticed_by_what_has_loaded_the_component(tmp_path: Path) -> None:
    project = make_dg_project(tmp_path)
    project.write("web", EMBEDDED)
    home = find_home(tmp_path)
    loaded = pools_of(home).find("web")
    assert is_in_folder(home, loaded)
    assert why_not_current(home, loaded) is None
    project.write("web", {**EMBEDDED, "seed": 1234})
    assert "has changed since Dagster loaded it" in (why_not_current(home, loaded) or "")
