"""The largest clusters of the top level, each with examples of its largest parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from curation_assets.report.data import ClusterCard
from curation_assets.steps.report.pool import ReportPool
from curation_assets.steps.report.samples import PoolViews

if TYPE_CHECKING:
    from curation_assets.algorithms.representatives import Representatives

CARDS, CARD_IMAGES, CARD_TEXTS = 12, 8, 3


@dataclass(frozen=True, slots=True)
class CardPlan:
    """A cluster of the top level, and the rows that stand for it."""

    cluster: int
    size: int
    n_selected: int
    parts: Representatives
    rows: np.ndarray
    """int64 (m,): pool rows, those of the largest child first."""


def plan_cards(pool: ReportPool, every: np.ndarray, selected: np.ndarray) -> list[CardPlan]:
    """The largest clusters of the top level, with rows to show of each.

    Args:
        pool: its columns.
        every: int64 (n,): admissible rows.
        selected: int64 (m,): rows of the first target.
    """
    from curation_assets.algorithms.representatives import representatives

    most = CARD_IMAGES if pool.spec.modality == "image" else CARD_TEXTS
    sizes, taken = pool.counts(every), pool.counts(selected)[-1]
    largest = np.argsort(-sizes[-1], kind="stable")[:CARDS]
    found = [
        (int(cluster), representatives(int(cluster), sizes, pool.parents, most))
        for cluster in largest[sizes[-1][largest] > 0]
    ]
    nearest = _nearest_rows(pool, [parts for _, parts in found])
    return [
        CardPlan(
            cluster,
            int(sizes[-1][cluster]),
            int(taken[cluster]),
            parts,
            np.concatenate([nearest[part] for part in parts.clusters.tolist()]),
        )
        for cluster, parts in found
    ]


def fill_card(pool: ReportPool, every: np.ndarray, plan: CardPlan, views: PoolViews) -> ClusterCard:
    """The card of a cluster, from the loaded views of its rows."""
    top: list[tuple[str, int]] = []
    if pool.labels is not None:
        counts = pool.label_counts(every[pool.clusters_at(pool.spec.n_levels)[every] == plan.cluster])
        best = np.argsort(-counts, kind="stable")[:3]
        top = [(pool.label_names[i], int(counts[i])) for i in best if counts[i]]
    return ClusterCard(
        level=pool.spec.n_levels,
        cluster=plan.cluster,
        size=plan.size,
        share=plan.size / len(every),
        n_selected=plan.n_selected,
        top_labels=top,
        examples=views.of(plan.rows),
        n_children=plan.parts.n_children,
        n_children_shown=plan.parts.n_shown,
        covered=plan.parts.covered,
    )


def _nearest_rows(pool: ReportPool, parts: Sequence[Representatives]) -> Mapping[int, np.ndarray]:
    """For clusters of level 1 the rows nearest to the centroid, as many as each has examples; one shard at a time."""
    wanted = pl.DataFrame(
        {
            "cluster": np.concatenate([part.clusters for part in parts] or [np.zeros(0, dtype=np.int64)]),
            "n": np.concatenate([part.counts for part in parts] or [np.zeros(0, dtype=np.int64)]),
        }
    )
    best = pl.DataFrame(schema={"cluster": pl.Int64, "n": pl.Int64, "distance": pl.Float32, "row": pl.Int64})
    for shard, start in pool.starts().items():
        rows = pool.storage.assigned(1, shard).rows.read("cluster", "distance")
        rows = rows.select(
            pl.col("cluster").cast(pl.Int64),
            pl.col("distance").cast(pl.Float32),
            row=start + pl.int_range(pl.len(), dtype=pl.Int64),
        )
        mine = rows.filter(pl.Series(pool.index.admissible[start : start + len(rows)]))
        near = pl.concat([best, mine.join(wanted, on="cluster").select(best.columns)])
        best = near.sort("cluster", "distance", "row").filter(
            pl.int_range(pl.len()).over("cluster") < pl.col("n")
        )
    return {key[0]: mine["row"].to_numpy() for key, mine in best.group_by("cluster", maintain_order=True)}
