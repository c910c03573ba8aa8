"""The plot of probes: it takes what a pool may have, and repeats itself."""

from __future__ import annotations

import io

from PIL import Image

from curation_assets.report.comparison import Figure, ProbeRow, ProbeSummary
from curation_assets.report.probes import probe_plot


def summary(target: str) -> ProbeSummary:
    rows = [
        ProbeRow("random", False, [Figure(0.5, 0.1), Figure(0.6, None), Figure(3.0, 0.1)]),
        ProbeRow("flat k-means", False, [None, None, None]),
        ProbeRow("level_2", True, [Figure(0.7, 0.0), Figure(0.8, 0.1), Figure(2.0, 0.1)]),
    ]
    return ProbeSummary(target, ["nearest_neighbour", "linear", "loss"], rows)


def size_of(png: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(png)) as image:
        return image.size


def test_each_target_has_a_panel_and_the_bytes_are_the_same() -> None:
    one, two = probe_plot([summary("small")]), probe_plot([summary("small"), summary("$large_1$")])
    assert probe_plot([summary("small")]) == one
    assert size_of(two)[1] > size_of(one)[1]


def test_nothing_to_draw_is_a_blank_plot() -> None:
    assert size_of(probe_plot([]))[0] > 0
    assert size_of(probe_plot([ProbeSummary("small", ["loss"], [])]))[0] > 0
