from __future__ import annotations

import base64
import dataclasses
import io
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from curation_assets.report import comparison_figures, figures, style
from curation_assets.report.data import SampleView
from curation_assets.report.projection import projection_scatter
from curation_assets.report.sparkline import sparkline_markdown
from curation_assets_tests.report import samples

SVG = "{http://www.w3.org/2000/svg}"
FIGURES: dict[str, Callable[[], bytes]] = {
    "sizes": lambda: figures.cluster_size_curves([samples.level(1, 300, n_empty=5), samples.level(2, 20)]),
    "labels": lambda: figures.label_balance(samples.target()),
    "comparison": lambda: comparison_figures.comparison_panels(samples.comparison()),
    "frontier": lambda: comparison_figures.frontier_curves(samples.frontier()),
    "inertia": lambda: figures.inertia_curve([[9.0, 4.0, 3.5], [1000.0, 2.0], [5.0]]),
    "projection": lambda: projection_scatter(
        np.arange(60.0),
        np.sin(np.arange(60.0)),
        ["selected", "not_selected", "duplicate", "contaminated", "x"] * 12,
    ),
    "grid": lambda: figures.image_grid(samples.thumbnails(7), columns=3),
}


@pytest.fixture(autouse=True)
def _coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    # A quarter of the pixels: encoding them takes most of the time.
    monkeypatch.setattr(style, "_DOTS_PER_INCH", 72)


def pixels(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB"))


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_drawn_the_same_every_time(name: str) -> None:
    png = FIGURES[name]()
    picture = pixels(png)
    assert 100 <= picture.shape[0] <= 2_000
    assert 100 <= picture.shape[1] <= 2_000
    assert 0.004 < (picture < 200).any(axis=2).mean() < 0.9
    assert FIGURES[name]() == png
    with Image.open(io.BytesIO(png)) as image:
        assert "Software" not in image.info


def test_figures_need_no_global_matplotlib_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # type: ignore[arg-type]
    assert pixels(comparison_figures.comparison_panels(samples.comparison())).size


@pytest.mark.parametrize(
    "draw",
    [
        lambda: figures.cluster_size_curves([]),
        lambda: figures.cluster_size_curves([samples.level(1, 3, n_empty=3)]),
        lambda: figures.label_balance(samples.target(labels=False)),
        lambda: figures.cluster_size_curves([samples.level(1, 1)]),
        lambda: comparison_figures.comparison_panels(samples.comparison(labels=False)),
        lambda: comparison_figures.comparison_panels(dataclasses.replace(samples.comparison(), subsets=[])),
        lambda: comparison_figures.frontier_curves([]),
        lambda: figures.inertia_curve([]),
        lambda: figures.inertia_curve([[], [1.0]]),
        lambda: figures.image_grid([], columns=4),
        lambda: figures.image_grid([SampleView("without a picture")], columns=4),
        lambda: projection_scatter(np.zeros(0), np.zeros(0), []),
    ],
)
def test_figures_of_little_or_nothing_are_still_pictures(draw: Callable[[], bytes]) -> None:
    assert pixels(draw()).size


def test_labels_are_never_read_as_formulas() -> None:
    counts = {r"$\frac{1$": (5, 1, 1), "_hidden": (3, 1, 1), "line\nbreak": (2, 0, 0)}
    hostile = dataclasses.replace(samples.target(), label_counts=counts)
    assert pixels(figures.label_balance(hostile)).size


def test_label_balance_grows_with_the_named_labels() -> None:
    few, many = (pixels(figures.label_balance(samples.target(), top=top)) for top in (2, 30))
    assert many.shape[0] > few.shape[0]
    with pytest.raises(ValueError, match="top is 0"):
        figures.label_balance(samples.target(), top=0)


def test_image_grid_places_pictures_in_reading_order() -> None:
    def plain(colour: str, size: tuple[int, int]) -> SampleView:
        buffer = io.BytesIO()
        Image.new("RGB", size, colour).save(buffer, format="PNG")
        return SampleView(colour, buffer.getvalue())

    sheet = pixels(
        figures.image_grid([plain("red", (9, 9)), plain("lime", (30, 10)), plain("blue", (5, 5))], 2, 20)
    )
    assert sheet.shape == (52, 52, 3)
    assert sheet[14, 14].tolist() == [255, 0, 0]
    assert sheet[14, 38].tolist() == [0, 255, 0]
    assert sheet[5, 38].tolist() == [255, 255, 255], "wide pictures keep their shape"
    assert sheet[38, 14].tolist() == [0, 0, 255]
    assert sheet[38, 38].tolist() == [255, 255, 255]
    with pytest.raises(ValueError, match="columns is 0"):
        figures.image_grid([], columns=0)


def svg_of(markdown: str) -> ElementTree.Element:
    payload = markdown.rsplit("](data:image/svg+xml;base64,", 1)[1]
    return ElementTree.fromstring(base64.b64decode(payload.removesuffix(")")))


numbers = st.lists(st.floats(allow_nan=False), max_size=400) | st.builds(
    lambda value, n: [value] * n, st.floats(allow_nan=False), st.integers(0, 5_000)
)


@settings(deadline=None, max_examples=60)
@given(numbers, st.text(max_size=400))
def test_sparklines_stay_below_the_limit_of_the_dagster_ui(values: list[float], caption: str) -> None:
    markdown = sparkline_markdown(values, caption)
    assert len(markdown) < 1_000
    assert len(markdown.encode("utf-16-le", "surrogatepass")) // 2 < 1_000
    assert "\n" not in markdown
    assert markdown.startswith("![")
    for line in svg_of(markdown).findall(f"{SVG}polyline"):
        for point in line.attrib["points"].split():
            x, y = map(float, point.split(","))
            assert 0 <= x <= 120
            assert 0 <= y <= 24


def test_sparkline_keeps_ends_and_extremes() -> None:
    values = [5.0] * 5_000
    values[1_234], values[3_210] = 9.0, 1.0
    svg = svg_of(sparkline_markdown(values, "curve"))
    line = svg.find(f"{SVG}polyline")
    assert line is not None
    points = [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()]
    assert (points[0], points[-1]) == ((3.0, 12.0), (117.0, 12.0))
    assert {y for _, y in points} == {3.0, 12.0, 21.0}
    assert svg.find(f"{SVG}circle") is not None


def test_sparkline_captions_cannot_break_out_of_the_image() -> None:
    markdown = sparkline_markdown([1, 2], "a](x) <b> `c` \\")
    assert markdown.startswith(r"![a\](x) \<b> \`c\` \\](data:")


def test_sparkline_of_nothing_is_an_empty_picture() -> None:
    empty = svg_of(sparkline_markdown([float("nan"), float("inf")], "nothing"))
    assert list(empty) == []
