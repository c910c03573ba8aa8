"""The contents of a curation report as plain values, from which `figures` and `page` render it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from curation_assets.report.comparison import (
    ComparisonSummary,
    FrontierLine,
    ProbeSummary,
    StartLevelSummary,
)


@dataclass(frozen=True, slots=True)
class SampleView:
    """One sample as the page shows it: its picture, the beginning of its text, or only its caption."""

    caption: str
    """Id and labels."""
    picture: bytes | None = None
    """An encoded image (PNG, JPEG or WebP) of at most 128 x 128 pixels."""
    text: str | None = None
    note: str = ""
    """A fact for the place where it is shown: its tokens, or its similarity to another sample."""


@dataclass(frozen=True, slots=True)
class LevelSummary:
    """One level of the hierarchy, with sizes in samples of the pool."""

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
    collapsed: bool = False
    """Whether its largest cluster holds too much of the pool to balance from the level."""
    why_dropped: str = ""
    """Why it repeats the level below; empty if it does not."""


@dataclass(frozen=True, slots=True)
class TargetSummary:
    """One target: its subset beside others of the same size."""

    name: str
    size: int
    strategy: str
    random_sample: Sequence[SampleView]
    """A uniform draw from a random subset of the target's size."""
    balanced_sample: Sequence[SampleView]
    """The same number of samples, drawn uniformly from the balanced subset."""
    label_counts: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    """Label -> samples in (pool, random subset, balanced subset)."""
    n_tokens: int | None = None
    """Tokens of the balanced subset, if tokens are counted."""
    requested_tokens: int | None = None
    """The budget of a target in tokens."""
    comparison: ComparisonSummary | None = None
    balance_from: int | None = None
    """Level at which its quotas start."""
    evenness: float | None = None
    start_levels: Sequence[StartLevelSummary] = ()
    """The levels it was chosen from, where it was measured."""


@dataclass(frozen=True, slots=True)
class ClusterCard:
    """One large cluster of the top level with examples of its largest child clusters."""

    level: int
    cluster: int
    size: int
    share: float
    n_selected: int
    """Samples that the first target selects from it."""
    top_labels: Sequence[tuple[str, int]]
    examples: Sequence[SampleView]
    """Nearest to centroids of level 1; those of the largest child cluster first."""
    n_children: int = 0
    """Its child clusters that hold samples, at the first level below that divides it; 0 at level 1."""
    n_children_shown: int = 0
    """The largest of them, which the examples are from."""
    covered: float = 1.0
    """Share of the cluster's samples that lie in those."""


@dataclass(frozen=True, slots=True)
class DuplicateGroup:
    """Samples that are copies of one another."""

    kept: SampleView
    removed: Sequence[SampleView]
    """The least similar first, since they are the nearest to the threshold; possibly not all of them."""
    n_removed: int
    lowest_similarity: float | None = None
    """Cosine similarity of the least similar copy; None if every copy has equal content."""
    highest_similarity: float | None = None


@dataclass(frozen=True, slots=True)
class DuplicatesSummary:
    """The result of deduplication."""

    n_candidates: int
    """Samples that it compared."""
    by_kind: Mapping[str, int]
    """Kind of evidence -> removed samples."""
    n_groups: int
    groups: Sequence[DuplicateGroup]
    """Those with the least similar copy first, then those of equal content, the largest first."""
    threshold: float | None = None
    """Cosine similarity from which embeddings count as copies."""

    @property
    def n_removed(self) -> int:
        """Removed samples."""
        return sum(self.by_kind.values())


@dataclass(frozen=True, slots=True)
class EvidencePair:
    """A contaminated sample of the pool, and the sample of an evaluation set that it is too similar to."""

    sample: SampleView
    twin: SampleView
    kind: str
    similarity: float


@dataclass(frozen=True, slots=True)
class ContaminationSummary:
    """The overlap of one evaluation set with the pool."""

    evaluation_set: str
    by_kind: Mapping[str, int]
    """Kind of evidence -> contaminated samples of the pool."""
    pairs: Sequence[EvidencePair]
    """The closest ones first."""

    @property
    def n_contaminated(self) -> int:
        """Contaminated samples of the pool."""
        return sum(self.by_kind.values())


@dataclass(frozen=True, slots=True)
class FateSummary:
    """One fate of the ledger."""

    name: str
    n_samples: int
    parts: Mapping[str, int] = field(default_factory=dict)
    """Part of the fate -> samples; targets, the parts of `selected`, may overlap."""


@dataclass(frozen=True, slots=True)
class LeftOutSummary:
    """Files of the pool's folder, or members of its files, that are neither samples nor rejections, for one cause."""

    n: int
    what: str
    """What they are, and why they are left out."""
    kinds: str
    """Their extensions with counts."""


@dataclass(frozen=True, slots=True)
class AtlasSummary:
    """The export for Embedding Atlas."""

    command: str
    """Opens it."""
    n_rows: int
    n_pool_rows: int
    """Embedded rows of the pool, from which the exported ones are drawn."""
    picture: bytes | None
    """The projection as PNG."""


@dataclass(frozen=True, slots=True)
class ReportData:
    """Everything on the page."""

    pool: str
    description: str
    n_shards: int
    n_samples: int
    """Embedded samples that targets select from."""
    n_rejected: int
    rejections: Mapping[str, int]
    """Rejection reason -> samples."""
    label_name: str | None
    levels: Sequence[LevelSummary]
    targets: Sequence[TargetSummary]
    clusters: Sequence[ClusterCard]
    warnings: Sequence[str]
    """Sentences about problems."""
    encoder: str
    settings: Mapping[str, Any]
    tree_version: str
    pool_sample: Sequence[SampleView]
    """A uniform draw from the pool."""
    fates: Sequence[FateSummary] = ()
    """Together they cover every row of the pool."""
    left_out: Sequence[LeftOutSummary] = ()
    duplicates: DuplicatesSummary | None = None
    contamination: Sequence[ContaminationSummary] = ()
    """By evaluation set; empty without decontamination."""
    atlas: AtlasSummary | None = None
    embedding_speed: str = ""
    """Speed of embedding, and its bottleneck."""
    frontier: Sequence[FrontierLine] = ()
    probes: Sequence[ProbeSummary] = ()
    """By target."""
