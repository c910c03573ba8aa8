"""What deduplication and decontamination removed, with the twins that they name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from curation_assets.formats.base import ShardReader
from curation_assets.report.data import (
    ContaminationSummary,
    DuplicateGroup,
    DuplicatesSummary,
    EvidencePair,
    SampleView,
)
from curation_assets.steps.cleaning.duplicates import resolved_threshold
from curation_assets.steps.report.pool import ReportPool
from curation_assets.steps.report.samples import PoolViews, evaluation_views
from curation_assets.storage.fates import KIND_WORDS, SEMANTIC
from curation_assets.storage.tables import Duplicates

_GROUPS, _GROUP_SAMPLES = 24, 3
_PAIRS = 8
_TWIN = ["twin_set", "twin_id"]
_SIMILARITY = pl.when(pl.col("kind") == SEMANTIC).then(pl.col("similarity"))
"""Of embeddings; null for copies that were found by their content."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """The tables of evidence, and which of their rows the page shows."""

    duplicates: pl.DataFrame | None
    """Columns of `Duplicates.evidence`, and pool_row; None without deduplication."""
    contaminated: pl.DataFrame | None
    groups: pl.DataFrame
    """Groups of duplicates, the nearest to the threshold first: columns of `group_spans`, and kept_row (pool row, null
    if unknown)."""
    shown: pl.DataFrame
    """Removed rows of those groups, the least similar first."""
    pairs: pl.DataFrame
    """The closest contaminated rows of every evaluation set."""

    def rows(self) -> np.ndarray:
        """Pool rows, int64, that the page shows."""
        columns = [self.groups["kept_row"].drop_nulls(), self.shown["pool_row"], self.pairs["pool_row"]]
        return pl.concat([column.cast(pl.Int64) for column in columns]).to_numpy()


def read_evidence(pool: ReportPool) -> Evidence:
    """Read what the pool's cleaning steps stored."""
    spec, storage = pool.spec, pool.storage
    duplicates = contaminated = None
    if spec.deduplication:
        duplicates = _placed(pool, storage.duplicates().evidence.read())
    if spec.decontamination:
        parts = [
            storage.contaminated(key).evidence.read().select(pl.lit(key).alias("shard"), pl.all())
            for key in pool.index.shards
        ]
        contaminated = _placed(pool, pl.concat(parts))
    empty = _placed(pool, Duplicates.evidence.empty())
    groups = _shown_groups(pool, empty if duplicates is None else duplicates)
    shown = (
        (empty if duplicates is None else duplicates)
        .join(groups.select(_TWIN), on=_TWIN, how="semi")
        .sort(_SIMILARITY, "sample_id", nulls_last=True)
    )
    shown = shown.filter(pl.int_range(pl.len()).over(_TWIN) < _GROUP_SAMPLES)
    pairs = (
        (empty if contaminated is None else contaminated)
        .sort("similarity", "sample_id", descending=[True, False])
        .filter(pl.int_range(pl.len()).over("twin_set") < _PAIRS)
    )
    return Evidence(duplicates, contaminated, groups, shown, pairs)


def summarise_duplicates(pool: ReportPool, evidence: Evidence, views: PoolViews) -> DuplicatesSummary | None:
    """Counts by kind, and the groups nearest to the threshold; None without deduplication."""
    if evidence.duplicates is None:
        return None
    shown = evidence.shown.partition_by(_TWIN, as_dict=True, maintain_order=True)
    groups = []
    for twin_set, twin_id, n_removed, lowest, highest, kept_row in evidence.groups.iter_rows():
        kept = SampleView(twin_id) if kept_row is None else views.one(kept_row)
        removed = [
            views.one(row, _likeness(kind, similarity))
            for row, kind, similarity in shown[twin_set, twin_id]
            .select("pool_row", "kind", "similarity")
            .iter_rows()
        ]
        groups.append(DuplicateGroup(kept, removed, n_removed, lowest, highest))
    searches_near = pool.spec.deduplication is not None and pool.spec.deduplication.semantic
    n_contaminated = 0 if evidence.contaminated is None else len(evidence.contaminated)
    return DuplicatesSummary(
        n_candidates=len(pool.index.clusters) - n_contaminated,
        by_kind=_counts(evidence.duplicates),
        n_groups=evidence.duplicates.select(_TWIN).n_unique(),
        groups=groups,
        threshold=resolved_threshold(pool.spec) if searches_near else None,
    )


def summarise_contamination(
    pool: ReportPool, evidence: Evidence, views: PoolViews, readers: Mapping[str, ShardReader]
) -> list[ContaminationSummary]:
    """For every evaluation set, clean ones too: counts by kind and the closest pairs.

    Args:
        pool: its columns.
        evidence: with the pairs to show.
        views: of the pool, with the rows of the pairs loaded.
        readers: of evaluation sets by name; sets without a reader show ids only.
    """
    if evidence.contaminated is None or pool.spec.decontamination is None:
        return []
    summaries = []
    for entry in pool.spec.decontamination.evaluation_sets:
        mine = evidence.pairs.filter(pl.col("twin_set") == entry.name)
        reader = readers.get(entry.name)
        twins = evaluation_views(reader, entry.source, mine["twin_id"].to_list()) if reader else {}
        pairs = [
            EvidencePair(
                views.one(row), twins.get(twin_id, SampleView(twin_id)), KIND_WORDS[kind], similarity
            )
            for row, twin_id, kind, similarity in mine.select(
                "pool_row", "twin_id", "kind", "similarity"
            ).iter_rows()
        ]
        counts = _counts(evidence.contaminated.filter(pl.col("twin_set") == entry.name))
        summaries.append(ContaminationSummary(entry.name, counts, pairs))
    return summaries


def _placed(pool: ReportPool, evidence: pl.DataFrame) -> pl.DataFrame:
    """Evidence with the pool row of each removed sample, without shards that left the pool."""
    mine = evidence.filter(pl.col("shard").is_in(pool.index.shards))
    start = pl.col("shard").replace_strict(pool.starts(), default=0, return_dtype=pl.Int64)
    return mine.with_columns(pool_row=start + pl.col("row").cast(pl.Int64))


def group_spans(duplicates: pl.DataFrame) -> pl.DataFrame:
    """Every group of duplicates with the span of its similarities, the nearest to the threshold first.

    Returns:
        Columns twin_set, twin_id, n_removed, lowest, highest (float, null without a copy by embedding). Groups without
        one come last, the largest first.
    """
    spans = duplicates.group_by(_TWIN).agg(
        pl.len().alias("n_removed"), _SIMILARITY.min().alias("lowest"), _SIMILARITY.max().alias("highest")
    )
    return spans.sort("lowest", -pl.col("n_removed").cast(pl.Int64), *_TWIN, nulls_last=True)


def _shown_groups(pool: ReportPool, duplicates: pl.DataFrame) -> pl.DataFrame:
    groups = group_spans(duplicates).head(_GROUPS)
    starts = pool.starts()
    kept: list[int | None] = []
    for twin_set, twin_id in groups.select(_TWIN).iter_rows():
        ids = (
            pool.storage.embedded(twin_set).rows.column("sample_id")
            if twin_set in starts
            else pl.Series(dtype=pl.String)
        )
        place = ids.index_of(twin_id) if len(ids) else None
        kept.append(None if place is None else starts[twin_set] + place)
    return groups.with_columns(pl.Series("kept_row", kept, dtype=pl.Int64))


def _counts(evidence: pl.DataFrame) -> dict[str, int]:
    counts = evidence.group_by("kind").len().sort("len", "kind", descending=[True, False])
    return {KIND_WORDS[kind]: count for kind, count in counts.iter_rows()}


def _likeness(kind: str, similarity: float | None) -> str:
    return KIND_WORDS[kind] if kind != SEMANTIC else f"cosine {similarity:.3f}"
