"""What several test modules share."""

from __future__ import annotations

import os

# One thread, as in the processes that tests start: embeddings depend on it in their last bits, and xdist has a worker
# for each core. torch and numba read it when they are imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import settings

from curation_assets_tests.projects import Project, make_project

# Files of a minute or so, which xdist hands out first, lest one of them is alone at the end.
LONG_FILES = (
    "test_end_to_end.py", "test_watch.py", "test_paper_study.py", "test_jobs.py", "test_backfill.py",
    "test_planted_duplicates.py", "test_cleaned_pool.py", "test_clicking.py",
)  # fmt: skip

# How long an example takes says more of the machine than of the code.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long files first."""
    items.sort(key=lambda item: item.path.name not in LONG_FILES)


def pytest_configure(config: pytest.Config) -> None:
    # Triton reads it when it is imported. With `make test-gpu` the kernels run on the card instead.
    if "gpu or kernel" not in config.getoption("markexpr"):
        os.environ["TRITON_INTERPRET"] = "1"


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that was curated once, undisturbed: tests that change it work on a copy."""
    project = make_project(tmp_path_factory.mktemp("finished"))
    code, output = project.run("run", "--pool", "emoji")
    assert code == 0, output
    return project
