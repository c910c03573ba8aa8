"""What a curation report shows, as plain values; gathered by the asset, drawn by `figures` and `page`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """One sample's picture."""

    png: bytes
    """An encoded image (PNG, JPEG or WebP) of at most 128 pixels a side."""
    caption: str


@dataclass(frozen=True, slots=True)
class LevelSummary:
    """One level of the hierarchy, seen from the pool's samples."""

    level: int
    n_inputs: int
    sizes: np.ndarray
    """int64 (k,): pool samples below each cluster."""
    effective_number: float
    largest_share: float
    gini: float
    n_empty: int
    inertia: float
    resampling_steps: int
    samples_per_cluster: int | None


@dataclass(frozen=True, slots=True)
class SubsetMetrics:
    """Balance of one set of samples over the tree and, where there are labels, over concepts."""

    name: str
    """`pool`, `random`, `flat k-means` or `balanced`."""
    n_samples: int
    effective_clusters: Mapping[int, float]
    """Effective number of clusters, by level."""
    largest_share: float
    """Of the top level."""
    gini: float
    """Of the top level."""
    effective_labels: float | None
    label_coverage: float | None
    """Share of the pool's labels that occur in the subset."""


@dataclass(frozen=True, slots=True)
class TargetSummary:
    """One target: its subset beside others of the same size."""

    name: str
    size: int
    strategy: str
    subsets: Sequence[SubsetMetrics]
    """In the order pool, random, flat k-means, balanced."""
    random_sample: Sequence[Thumbnail]
    """A uniform draw from a random subset of the target's size."""
    balanced_sample: Sequence[Thumbnail]
    """As many samples, drawn uniformly from the balanced subset."""
    label_counts: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    """Label -> samples in (pool, random subset, balanced subset)."""


@dataclass(frozen=True, slots=True)
class ClusterCard:
    """One large cluster of the top level with its most central samples."""

    level: int
    cluster: int
    size: int
    share: float
    n_selected: int
    """Samples the first target takes from it."""
    top_labels: Sequence[tuple[str, int]]
    central: Sequence[Thumbnail]
    """Closest to the centroid first."""


@dataclass(frozen=True, slots=True)
class ReportData:
    """Everything on the page."""

    pool: str
    description: str
    n_shards: int
    n_samples: int
    """Accepted and embedded samples."""
    n_rejected: int
    rejections: Mapping[str, int]
    """Rejection reason -> samples."""
    label_name: str | None
    levels: Sequence[LevelSummary]
    targets: Sequence[TargetSummary]
    clusters: Sequence[ClusterCard]
    warnings: Sequence[str]
    """Plain sentences: what the reader should not overlook."""
    encoder: str
    settings: Mapping[str, Any]
    tree_version: str
    pool_sample: Sequence[Thumbnail]
    """A uniform draw from the pool."""
