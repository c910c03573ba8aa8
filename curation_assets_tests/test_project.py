"""Pools by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from curation_assets.errors import PoolSpecError
from curation_assets.project import find_spec
from curation_assets_tests.projects import SMALL_POOL, Project


def test_an_unknown_pool_names_those_there_are(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.write_pool(SMALL_POOL)
    assert find_spec(project.home, "emoji").name == "emoji"
    with pytest.raises(PoolSpecError, match=r"--pool web: no such pool .* there are: emoji"):
        find_spec(project.home, "web")
