"""Balance of the pool, of the targets and of the subsets they are compared with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from curation_assets.report.data import LevelSummary, SubsetMetrics
from curation_assets.steps.report.pool import ReportPool
from curation_assets.steps.tree.fit_sample import read_sample


def compare_subsets(
    pool: ReportPool, every: np.ndarray, rows: np.ndarray, draws: Sequence[np.ndarray]
) -> list[SubsetMetrics]:
    """Metrics of the pool, of random subsets, of a draw from flat k-means and of the balanced subset.

    `every` are the admissible rows, `rows` the balanced subset, `draws` the random subsets of its size.
    """
    flat = _flat_kmeans_rows(pool, len(rows))
    return [
        _metrics(pool, "pool", [every]),
        _metrics(pool, "random", draws),
        *([_metrics(pool, "flat k-means", [flat])] if flat is not None else []),
        _metrics(pool, "balanced", [rows]),
    ]


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


def _metrics(pool: ReportPool, name: str, draws: Sequence[np.ndarray]) -> SubsetMetrics:
    """Figures of a subset, or their means over several draws of it."""
    from curation_assets.algorithms.balance import balance_of, effective_number

    by_draw = [[balance_of(counts) for counts in pool.counts(rows)] for rows in draws]
    labels = [pool.label_counts(rows) for rows in draws] if pool.labels is not None else None
    n_labels = max(1, len(pool.label_names))
    levels = range(len(by_draw[0]))
    return SubsetMetrics(
        name=name,
        n_samples=len(draws[0]),
        effective_clusters={t + 1: float(np.mean([d[t].effective_number for d in by_draw])) for t in levels},
        largest_share=float(np.mean([d[-1].largest_share for d in by_draw])),
        gini=float(np.mean([d[-1].gini for d in by_draw])),
        effective_labels=float(np.mean([effective_number(c) for c in labels])) if labels else None,
        label_coverage=float(np.mean([(c > 0).sum() / n_labels for c in labels])) if labels else None,
    )


def _flat_kmeans_rows(pool: ReportPool, size: int) -> np.ndarray | None:
    """The same draw from plain k-means with the k of level 1; the difference is what hierarchy and resampling add."""
    from curation_assets.algorithms.randomness import Purpose, keyed_priorities
    from curation_assets.algorithms.sampling.balanced import draw, plan_quotas

    if not pool.spec.levels[0].steps_at(1):
        return None
    fitted = pool.storage.initial(1).assignments.read()
    rows, positions = _fitted_rows(pool)
    admissible = pool.index.admissible[rows]
    rows, positions = rows[admissible], positions[admissible]
    if len(rows) < size:
        # The fit was on few of the present rows, so no draw of this size can be compared.
        return None
    clusters = np.asarray(fitted)[positions]
    quotas = plan_quotas(np.bincount(clusters), [], size, seed=pool.spec.seed).quotas[0]
    priorities = keyed_priorities(pool.index.id_hashes[rows], pool.spec.seed, Purpose.DRAW)
    return rows[draw(clusters, priorities, quotas)]


def _fitted_rows(pool: ReportPool) -> tuple[np.ndarray, np.ndarray]:
    """Rows that level 1 was fitted on and that still exist, and their positions in the fit."""
    chosen = pool.storage.fit_rows()
    sample = read_sample(pool.storage, pool.storage.initial(1))
    if chosen is None and sample is None:
        every = np.arange(len(pool.index.clusters))
        return every, every
    starts = pool.starts()
    shards = sorted(chosen.shards) if chosen else pool.index.shards
    rows, positions = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    position = 0
    for key in shards:
        part = chosen.shards[key] if chosen else None
        admitted = pool.storage.admitted(key) if part and part.embeddings else None
        facts = (admitted or pool.storage.embedded(key)).facts()
        stands = key in starts and facts is not None and (part is None or facts.digest == part.digest)
        if sample is not None:
            mine = sample[key].astype(np.int64)
        elif part and admitted:
            mine = np.asarray(admitted.kept.read()) if stands else np.empty(part.n_rows, dtype=np.int64)
        else:
            mine = np.arange(part.n_rows if part else 0)
        if stands:
            rows.append(starts[key] + mine)
            positions.append(np.arange(position, position + len(mine)))
        position += len(mine)
    return np.concatenate(rows), np.concatenate(positions)
