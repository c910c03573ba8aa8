"""The pools of the shortened demos are those of the demos, but for levels and targets."""

from __future__ import annotations

from pathlib import Path

import pytest

from curation_assets.demo.demo_pools import write_demo_pool
from curation_assets.pools import load_pool_spec

REPOSITORY = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("pool", ["emoji", "docstrings"])
@pytest.mark.parametrize("limit", [1, 600, 4_000])
def test_only_levels_and_targets_differ(pool: str, limit: int, tmp_path: Path) -> None:
    path = write_demo_pool(tmp_path / "pools", pool, limit)
    assert path is not None
    small, full = load_pool_spec(path), load_pool_spec(REPOSITORY / "pools" / f"{pool}.yaml")
    planned = {"description", "levels", "targets"}
    assert small.model_dump(exclude=planned) == full.model_dump(exclude=planned)
    assert small.plans_levels
    assert [target.strategy for target in small.targets] == [target.strategy for target in full.targets]
    small.require_feasible(max(1, limit * 2 // 3))
    small.require_tokens(limit * 20)


def test_a_pool_of_the_project_stays(tmp_path: Path) -> None:
    path = write_demo_pool(tmp_path, "emoji", 600)
    assert path is not None
    path.write_text("mine")
    assert write_demo_pool(tmp_path, "emoji", 300) is None
    assert path.read_text() == "mine"


@pytest.mark.parametrize("pool", ["emoji", "docstrings"])
def test_a_whole_demo_has_the_pool_of_the_repository(tmp_path: Path, pool: str) -> None:
    path = write_demo_pool(tmp_path, pool, None)
    assert path is not None
    repository = Path(__file__).parent.parent.parent / "pools" / path.name
    assert path.read_text() == repository.read_text().partition("\n")[2], (
        "but for the line that names the schema"
    )
