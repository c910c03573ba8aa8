"""Headless Chromium, the one the system has, and what the tests ask of a page."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    # Not in the extra `dev`: only these tests need it.
    from playwright.sync_api import Browser, Locator, Page

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_WINDOW = {"width": 1900, "height": 800}
_SCALE = 1.5
_PATIENCE_SECONDS = 30


@dataclass(frozen=True)
class Box:
    """Where something is drawn, in CSS pixels."""

    left: float
    top: float
    right: float
    bottom: float

    def holds(self, other: Box, slack: float = 1.0) -> bool:
        """Whether the other lies inside."""
        return (
            self.left - slack <= other.left
            and self.top - slack <= other.top
            and other.right <= self.right + slack
            and other.bottom <= self.bottom + slack
        )

    def meets(self, other: Box) -> bool:
        """Whether the two have some room in common."""
        beside = self.right <= other.left or other.right <= self.left
        return not beside and self.top < other.bottom and other.top < self.bottom


@dataclass(frozen=True)
class Screen:
    """A page of the UI, and the folder its pictures go to."""

    page: Page
    url: str
    folder: Path

    def open(self, path: str) -> None:
        """Go to a page of the UI."""
        self.page.goto(f"{self.url}{path}")

    def keep(self, name: str) -> None:
        """Store what the window shows."""
        self.page.screenshot(path=self.folder / f"{name}.png", animations="disabled")

    def picture(self, place: Locator) -> Locator:
        """The picture in a place, once it is loaded."""
        image = place.locator("img").first
        image.wait_for()
        self.page.wait_for_function(
            "image => image.complete && image.naturalWidth > 0", arg=image.element_handle()
        )
        return image


def box_of(locator: Locator) -> Box:
    """Where an element is drawn."""
    found = locator.bounding_box()
    assert found, f"{locator} is not drawn"
    return Box(found["x"], found["y"], found["x"] + found["width"], found["y"] + found["height"])


@contextlib.contextmanager
def open_browser() -> Iterator[Browser]:
    """The system's Chromium without a window; a test that needs it fails if it is missing."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        pytest.fail("the UI tests need Playwright: .venv/bin/pip install playwright", pytrace=False)
    program = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if program is None:
        pytest.fail(
            f"the UI tests need a Chromium on the PATH ({', '.join(_PROGRAMS)}): apt-get install chromium",
            pytrace=False,
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=_ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def open_page(browser: Browser) -> Iterator[Page]:
    """A page with nothing stored by an earlier one."""
    context = browser.new_context(viewport=_WINDOW, device_scale_factor=_SCALE)
    context.set_default_timeout(_PATIENCE_SECONDS * 1000)
    try:
        yield context.new_page()
    finally:
        context.close()
