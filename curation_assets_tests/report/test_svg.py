"""Figures inside the page: the page's colours, ids of their own, and texts that stay texts."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import pytest

from curation_assets import report
from curation_assets.report import comparison_figures, figures, style, svg
from curation_assets.report.page import render_report
from curation_assets_tests.report import samples

PANELS: dict[str, Callable[[str], list[str]]] = {
    "sizes": lambda name: [figures.cluster_size_svg([samples.level(1, 300), samples.level(2, 20)], name)],
    "labels": lambda name: figures.label_balance_svgs(samples.target(), name),
    "comparison": lambda name: comparison_figures.comparison_svgs(samples.comparison(), name),
    "frontier": lambda name: comparison_figures.frontier_svgs(samples.frontier(), name),
}


@pytest.mark.parametrize("kind", PANELS)
def test_panels_are_well_formed_and_the_same_every_time(kind: str) -> None:
    panels = PANELS[kind]("mine")
    assert panels == PANELS[kind]("mine")
    for panel in panels:
        root = ElementTree.fromstring(panel)
        assert root.tag == "svg"
        assert root.get("role") == "img"
        assert root.get("aria-label")
        assert 1_000 < len(panel) < 60_000
        used = {use.get("href", "")[1:] for use in root.iter("use")}
        assert used == {found for element in root.iter() if (found := element.get("id"))}
        assert all(name.startswith("mine-") for name in used)
        for forbidden in ("http", "url(", "clip", "font-family", "#2b2f36", "#17637d"):
            assert forbidden not in panel
        assert "var(--ink)" in panel


def test_colours_of_levels_are_mixed_from_those_of_the_page() -> None:
    [panel] = PANELS["sizes"]("mine")
    for share in ("0%", "100%"):
        assert f"color-mix(in srgb, var(--coarse) {share}, var(--fine))" in panel


def test_texts_stay_as_they_are() -> None:
    hostile = '<b> & "#17637d" href="#x" id="y" 1.23456'
    figure = svg.panel(2)
    figure.subplots().set_title(hostile, parse_math=False)
    panel = svg.svg(figure, "mine", hostile)
    root = ElementTree.fromstring(panel)
    assert hostile in {element.text for element in root.iter("text")}
    assert root.get("aria-label") == hostile
    assert root.find("b") is None


def variables(css: str) -> dict[str, str]:
    return dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", css))


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_and_marks_stand_out_in_both_schemes(scheme: str) -> None:
    css = (Path(report.__file__).parent / "templates" / "report.css").read_text()
    light, dark = css.split("prefers-color-scheme: dark", 1)
    colours = variables(light) if scheme == "light" else variables(dark.split("\n}\n", 1)[0])
    assert {"page", "card", "ink", "muted", "accent", "warn", "fine", "coarse", "paper", "level"} <= set(
        colours
    )
    for ground in ("page", "card", "tint"):
        for text in ("ink", "muted", "accent"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    assert contrast(colours["warn"], colours["warn-tint"]) >= 4.5
    # WCAG 2.2, 1.4.11: graphical objects.
    for mark in ("random", "flat", "paper", "level", "fine", "coarse", "accent"):
        assert contrast(colours[mark], colours["card"]) >= 2.7, mark


def test_the_page_has_a_colour_for_every_variable_of_its_figures() -> None:
    html = render_report(samples.report(frontier=samples.frontier()))
    used, known = (
        set(re.findall(r"var\(--([a-z-]+)\)", html)),
        set(variables(html)) | {"serif", "sans", "mono"},
    )
    assert used <= known
    assert {"fine", "coarse"} <= used
    assert style.ACCENT not in svg._HEX.findall(html.split("<body>")[1])
