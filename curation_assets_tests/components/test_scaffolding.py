"""`dg scaffold defs curation_assets.CurationPool`, without `dg`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from curation_assets.components.scaffolding import PoolScaffolder, ScaffoldParams
from curation_assets.pools import PoolSpec
from curation_assets.pools.projects.components import read_component_file


def scaffold(folder: Path, **changes: Any) -> Path:
    request: dict[str, Any] = {
        "type_name": "curation_assets.CurationPool",
        "target_path": folder / "web",
        "scaffold_format": "yaml",
        "project_root": folder,
        "params": ScaffoldParams(),
    }
    (folder / "web").mkdir(exist_ok=True)
    PoolScaffolder().scaffold(dg.ScaffoldRequest(**{**request, **changes}))
    return folder / "web" / "defs.yaml"


@pytest.mark.parametrize("source", ["images", "text", "embeddings"])
def test_what_is_written_is_a_pool_that_says_what_to_change(tmp_path: Path, source: Any) -> None:
    file = scaffold(tmp_path, params=ScaffoldParams(source=source, path="data/mine"))
    [component] = read_component_file(file)
    assert isinstance(component.loaded, PoolSpec)
    assert component.name == "web"
    assert component.loaded.source.path == "data/mine"
    assert file.read_text().count("#") >= 4
    assert max(map(len, file.read_text().splitlines())) <= 122


def test_another_component_is_added_to_a_file(tmp_path: Path) -> None:
    file = scaffold(tmp_path)
    scaffold(tmp_path, target_path=file, append=True)
    assert [pool.name for pool in read_component_file(file)] == ["web", "web_2"]


def test_code_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(dg.DagsterInvalidDefinitionError, match="use --format yaml"):
        scaffold(tmp_path, scaffold_format="python")
