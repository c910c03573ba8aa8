"""What several test modules share."""

from __future__ import annotations

import os
from importlib.metadata import version

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


def is_for_the_card(config: pytest.Config) -> bool:
    """Whether this is `make test-gpu`."""
    return "gpu or kernel" in config.getoption("markexpr")


def pytest_configure(config: pytest.Config) -> None:
    # Triton reads it when it is imported. With `make test-gpu` the kernels run on the card instead.
    if not is_for_the_card(config):
        os.environ["TRITON_INTERPRET"] = "1"


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu"):
        from curation_assets.devices.cuda import cuda

        if not (found := cuda()).works:
            pytest.skip(found.fault or "needs a CUDA card")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail `make test-gpu` where every test was skipped, as on a machine without a card."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    ran = reporter is None or any(reporter.stats.get(outcome) for outcome in ("passed", "failed", "error"))
    if is_for_the_card(session.config) and not session.config.option.collectonly and not ran:
        session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name the card that tests ran on, or why none was there."""
    if is_for_the_card(config):
        terminalreporter.write_line(card_line())


def card_line() -> str:
    """The card and the versions that decide what it does."""
    import torch

    from curation_assets.devices.cuda import cuda
    from curation_assets.devices.driver import ask_driver

    found, driver = cuda(), ask_driver()
    if not found.works:
        return f"no test ran on a card: {found.fault or 'this machine has none'}"
    names = ", ".join(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
    newest = "" if driver is None else f", driver for CUDA {'.'.join(map(str, driver.newest_cuda))}"
    return (
        f"{names}; torch {torch.__version__}, CUDA {torch.version.cuda}{newest}, triton {version('triton')}"
    )


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that was curated once, undisturbed: tests that change it work on a copy."""
    project = make_project(tmp_path_factory.mktemp("finished"))
    code, output = project.run("run", "--pool", "emoji")
    assert code == 0, output
    return project
