"""Places of the page that the style sheet computes."""

from __future__ import annotations

import re
from pathlib import Path

import curation_assets.report

CSS = (Path(curation_assets.report.__file__).parent / "templates" / "report.css").read_text(encoding="utf-8")


def number(pattern: str, text: str = CSS) -> int:
    found = re.search(pattern, text)
    assert found, pattern
    return int(found[1])


def test_contents_beside_the_page_end_before_its_text_begins() -> None:
    text, margin = number(r"main \{ max-width: (\d+)px"), number(r"main \{[^}]*padding: \d+px (\d+)px")
    beside = CSS[CSS.index(".contents { position: fixed") - 80 :]
    narrowest = number(r"min-width: (\d+)px", beside)
    least, apart = number(r"left: max\((\d+)px", beside), number(r"50vw - (\d+)px", beside)
    width = number(r"width: (\d+)px; max-height", beside)
    for window in (narrowest, narrowest + 100, 1920, 3840):
        ends = max(least, window // 2 - apart) + width
        assert ends < (window - text) // 2 + margin, window
