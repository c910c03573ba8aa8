"""What several test modules share."""

from __future__ import annotations

import pytest
from hypothesis import settings

from curation_assets_tests.projects import Project, make_project

# How long an example takes says more of the machine than of the code.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that was curated once, undisturbed: tests that change it work on a copy."""
    project = make_project(tmp_path_factory.mktemp("finished"))
    code, output = project.run("run", "--pool", "emoji")
    assert code == 0, output
    return project
