"""The report in a browser: nothing is lost off-screen, on a phone, a tablet or a desk, by day and by night."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from curation_assets.report.data import ContaminationSummary, DuplicateGroup, DuplicatesSummary, EvidencePair
from curation_assets.report.page import render_report
from curation_assets_tests.report import samples

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.ui

# Elements that a reader cannot reach: beyond the window, and in no box of their own that scrolls.
_BEYOND = """() => [...document.body.querySelectorAll('*')]
  .filter(e => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('.scroll, .command, svg'))
  .map(e => e.outerHTML.slice(0, 80))"""
_CUT = """() => [...document.querySelectorAll('.scroll')]
  .filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.textContent.trim().slice(0, 60))"""
_SMALLEST_TEXT = """() => Math.min(...[...document.querySelectorAll('svg text')].map(text =>
  parseFloat(getComputedStyle(text).fontSize) * text.getScreenCTM().a || 99))"""


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    views = samples.thumbnails(3, "a caption that is long enough to wrap on every phone")
    pair = EvidencePair(views[0], views[1], "semantic", 0.97)
    group = DuplicateGroup(views[0], views, 9, 0.95, 0.98)
    report = samples.report(
        targets=[samples.target("a_target_with_the_longest_name_that_is_allowed"), samples.target("small")],
        frontier=samples.frontier(),
        probes=[samples.probe()],
        duplicates=DuplicatesSummary(13_000, {"semantic": 580}, 350, [group], 0.95),
        contamination=[ContaminationSummary("quiz", {"semantic": 2}, [pair])],
        settings={"source": {"path": "/a/very/long/path/" * 6}},
    )
    path = tmp_path_factory.mktemp("report") / "page.html"
    path.write_text(render_report(report))
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 420, 600, 1200, 1600])
def test_nothing_is_lost_off_screen(browser: Browser, page_file: Path, width: int, scheme: Any) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    try:
        page = context.new_page()
        page.goto(page_file.as_uri())
        page.locator("summary").click()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(_BEYOND) == []
        assert page.evaluate(_CUT) == []
        assert page.evaluate(_SMALLEST_TEXT) >= 10.5
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert ground == ("rgb(250, 250, 248)" if scheme == "light" else "rgb(18, 19, 22)")
        contents = page.locator(".contents a")
        for link in contents.all():
            link.click()
            heading = page.locator(f"[id='{(link.get_attribute('href') or '')[1:]}']")
            assert heading.is_visible()
    finally:
        context.close()
