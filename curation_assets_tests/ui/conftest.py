"""One browser and one server for all UI tests, and a page for each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from curation_assets_tests.ui.browser import Screen, open_browser, open_page
from curation_assets_tests.ui.dev_server import DevServer, dev_server, make_curated_project

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """First of the fixtures: without a browser nothing else is worth starting."""
    with open_browser() as found:
        yield found


@pytest.fixture(scope="session")
def server(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    with dev_server(make_curated_project(tmp_path_factory.mktemp("project"))) as running:
        yield running


@pytest.fixture(scope="session")
def screenshots(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    chosen = os.environ.get("CURATION_SCREENSHOTS")
    folder = Path(chosen).resolve() if chosen else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print(f"\nscreenshots: {folder}")
    return folder


@pytest.fixture
def screen(
    browser: Browser, server: DevServer, screenshots: Path, request: pytest.FixtureRequest
) -> Iterator[Screen]:
    n_failed = request.session.testsfailed
    with open_page(browser) as page:
        found = Screen(page, server.url, screenshots)
        yield found
        if request.session.testsfailed > n_failed:
            found.keep(f"failed_{request.node.name}")
