"""Sizes of the levels of the tree, and of the labels of the pool and its subsets."""

from __future__ import annotations

import numpy as np

from curation_assets.report.data import LevelSummary
from curation_assets.steps.report.pool import ReportPool


def summarise_levels(pool: ReportPool, every: np.ndarray) -> list[LevelSummary]:
    """Every level of the tree, its sizes counted over the admissible rows."""
    from curation_assets.algorithms.balance import balance_of, has_collapsed

    summaries = []
    for level, sizes in enumerate(pool.counts(every), start=1):
        facts = pool.storage.clusters(level).require_facts().summary
        why_dropped = facts.get("why_dropped", "")
        steps = 0 if why_dropped else pool.spec.levels[level - 1].steps_at(level)
        kept = None
        if steps:
            resampled = pool.storage.resampled(level).require_facts()
            kept = resampled.summary["samples_per_cluster"]
        balance = balance_of(sizes)
        summaries.append(
            LevelSummary(
                level=level,
                n_inputs=facts["n_inputs"],
                sizes=sizes,
                effective_number=balance.effective_number,
                largest_share=balance.largest_share,
                gini=balance.gini,
                n_empty=balance.n_empty,
                inertia=facts["inertias"][-1][-1],
                resampling_steps=steps,
                samples_per_cluster=kept,
                collapsed=not why_dropped and has_collapsed(sizes, pool.spec.max_share),
                why_dropped=why_dropped,
            )
        )
    return summaries


def label_table(
    pool: ReportPool, every: np.ndarray, random_rows: np.ndarray, rows: np.ndarray
) -> dict[str, tuple[int, int, int]]:
    """Label -> samples in (pool, random subset, balanced subset)."""
    columns = [pool.label_counts(part).tolist() for part in (every, random_rows, rows)]
    return {name: counts for name, *counts in zip(pool.label_names, *columns, strict=True)}  # type: ignore[misc]
