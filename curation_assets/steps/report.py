"""curation_report: gathers the figures and pictures of a curation for the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from curation_assets.formats.base import RawSample, ShardReader
from curation_assets.lineage import level_asset
from curation_assets.pools import EmbeddingsSource, PoolSpec
from curation_assets.report.data import (
    ClusterCard,
    LevelSummary,
    ReportData,
    SubsetMetrics,
    TargetSummary,
    Thumbnail,
)
from curation_assets.steps.ingest import LABEL_PREFIX
from curation_assets.steps.ingest import TABLE as RAW_TABLE
from curation_assets.steps.pool_index import PoolIndex
from curation_assets.steps.select import SELECTED
from curation_assets.storage.admission import KEPT
from curation_assets.storage.clusters import ASSIGNMENTS, read_parents
from curation_assets.storage.embeddings import ROWS
from curation_assets.storage.pool_storage import PoolStorage

GRID_IMAGES = 96
CARDS, CARD_IMAGES = 12, 8
DOMINATING_SHARE = 0.3
BASELINE_DRAWS = 5
"""Random subsets whose mean figures stand in the report: one draw alone would be luck."""


@dataclass
class _Pool:
    """Per-row columns that figures are computed from, in canonical order."""

    spec: PoolSpec
    storage: PoolStorage
    index: PoolIndex
    parents: list[np.ndarray]
    labels: np.ndarray | None
    """int64 (n,): code of each row's label, -1 for none."""
    label_names: list[str]
    raw_rows: np.ndarray
    thumbnails: dict[int, Thumbnail] = field(default_factory=dict)

    @classmethod
    def read(cls, spec: PoolSpec, storage: PoolStorage) -> _Pool:
        index = PoolIndex.read(spec, storage)
        rows = [
            storage.output("embeddings", shard).table(ROWS, ["raw_row"])["raw_row"] for shard in index.shards
        ]
        labels, names = None, []
        if spec.source.label_fields:
            column = LABEL_PREFIX + spec.source.label_fields[0]
            parts = [
                storage.output("raw_pool", shard).table(RAW_TABLE, [column])[column].gather(mine)
                for shard, mine in zip(index.shards, rows, strict=True)
            ]
            values = pl.concat(parts)
            names = values.drop_nulls().unique().sort().to_list()
            codes = values.replace_strict(names, range(len(names)), default=-1, return_dtype=pl.Int64)
            labels = codes.fill_null(-1).to_numpy()
        parents = read_parents(storage, spec.n_levels)
        raw_rows = np.concatenate([column.to_numpy() for column in rows])
        return cls(spec, storage, index, parents, labels, names, raw_rows)

    def counts(self, rows: np.ndarray) -> list[np.ndarray]:
        """Samples of `rows` below each cluster, by level."""
        n_clusters = [len(parent) for parent in self.parents]
        top = int(self.parents[-1].max()) + 1 if self.parents else 0
        bottom = n_clusters[0] if self.parents else int(self.index.clusters.max()) + 1
        counts = [np.bincount(self.index.clusters[rows], minlength=bottom)]
        for parent, size in zip(self.parents, [*n_clusters[1:], top], strict=True):
            counts.append(np.bincount(parent, weights=counts[-1], minlength=size).astype(np.int64))
        return counts

    def label_counts(self, rows: np.ndarray) -> np.ndarray:
        """Samples of `rows` with each label."""
        if self.labels is None:
            return np.zeros(0, dtype=np.int64)
        codes = self.labels[rows]
        return np.bincount(codes[codes >= 0], minlength=len(self.label_names))

    def clusters_at(self, level: int) -> np.ndarray:
        """Cluster of every row at a level."""
        clusters = self.index.clusters
        for parent in self.parents[: level - 1]:
            clusters = parent[clusters]
        return clusters


def gather_report(spec: PoolSpec, storage: PoolStorage, reader: ShardReader) -> ReportData:
    """Everything the page shows.

    Args:
        spec: the pool.
        storage: its outputs, complete up to the ledger.
        reader: for the pictures of a few hundred samples.
    """
    from curation_assets.algorithms.randomness import Purpose, generator

    pool = _Pool.read(spec, storage)
    every = np.flatnonzero(pool.index.admissible)
    selected = storage.output("selection").table(SELECTED)
    start_of = dict(zip(pool.index.shards, pool.index.starts.tolist(), strict=False))
    plans = []
    for t, target in enumerate(spec.targets):
        mine = selected.filter(pl.col("target") == target.name)
        offsets = mine["shard"].replace_strict(start_of, return_dtype=pl.Int64).to_numpy()
        rows = np.sort(offsets + mine["row"].to_numpy())
        draws = [
            generator(spec.seed, Purpose.BASELINE, t, i).choice(every, len(rows), replace=False)
            for i in range(BASELINE_DRAWS)
        ]
        rng = generator(spec.seed, Purpose.BASELINE, t, BASELINE_DRAWS)
        plans.append((target, rows, draws, _pick(draws[0], rng), _pick(rows, rng)))
    cards = _largest_clusters(pool, plans[0][1])
    pool_sample = _pick(every, generator(spec.seed, Purpose.BASELINE, len(plans)))
    wanted = [pool_sample, *(rows for plan in plans for rows in plan[3:]), *(rows for _, rows in cards)]
    _load_thumbnails(pool, reader, np.unique(np.concatenate(wanted)))
    targets = [
        TargetSummary(
            name=target.name,
            size=len(rows),
            strategy=target.strategy,
            subsets=_subsets(pool, every, rows, draws),
            random_sample=_pictures(pool, random_rows),
            balanced_sample=_pictures(pool, balanced_rows),
            label_counts=_label_table(pool, every, draws[0], rows),
        )
        for target, rows, draws, random_rows, balanced_rows in plans
    ]
    levels = _levels(pool, every)
    n_rejected, rejections = _rejections(storage, pool.index.shards)
    clusters = [
        storage.output(level_asset(level, "clusters")).require_facts()
        for level in range(1, spec.n_levels + 1)
    ]
    return ReportData(
        pool=spec.name,
        description=spec.description,
        n_shards=len(pool.index.shards),
        n_samples=len(every),
        n_rejected=n_rejected,
        rejections=rejections,
        label_name=spec.source.label_fields[0] if spec.source.label_fields else None,
        levels=levels,
        targets=targets,
        clusters=[_card(pool, card, rows) for card, rows in cards],
        warnings=tree_warnings(levels, targets),
        encoder=spec.encoder_name,
        settings=spec.model_dump(mode="json"),
        tree_version=clusters[-1].summary.get("tree_version") or "",
        pool_sample=_pictures(pool, pool_sample),
    )


def dominating_share(n_clusters: int) -> float:
    """Share of the pool above which one of so many clusters dominates.

    0.3; of fewer than five clusters one may hold half as much again as its equal part.
    """
    return max(DOMINATING_SHARE, 1.5 / max(1, n_clusters))


def tree_warnings(levels: Sequence[LevelSummary], targets: Sequence[TargetSummary]) -> list[str]:
    """Plain sentences on a tree that collapsed, or a subset less diverse than a random one."""
    found = []
    if levels[-1].largest_share > dominating_share(len(levels[-1].sizes)):
        found.append(
            f"The largest top-level cluster holds {levels[-1].largest_share:.0%} of the pool: the hierarchy has "
            f"collapsed there. Try fewer or flatter levels, centring, or another encoder."
        )
    for target in targets:
        by_name = {subset.name: subset for subset in target.subsets}
        balanced, random = by_name["balanced"], by_name["random"]
        if balanced.effective_labels is not None and random.effective_labels is not None:
            if balanced.effective_labels < random.effective_labels:
                found.append(
                    f"Target '{target.name}' has fewer effective labels ({balanced.effective_labels:.1f}) than a "
                    f"random subset of its size ({random.effective_labels:.1f})."
                )
        elif balanced.effective_clusters[1] < random.effective_clusters[1]:
            found.append(
                f"Target '{target.name}' covers level 1 less evenly than a random subset of its size."
            )
    return found


def _pick(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.sort(rng.choice(rows, min(GRID_IMAGES, len(rows)), replace=False))


def _subsets(
    pool: _Pool, every: np.ndarray, rows: np.ndarray, draws: list[np.ndarray]
) -> list[SubsetMetrics]:
    flat = _flat_kmeans_rows(pool, len(rows))
    return [
        _metrics(pool, "pool", [every]),
        _metrics(pool, "random", draws),
        *([_metrics(pool, "flat k-means", [flat])] if flat is not None else []),
        _metrics(pool, "balanced", [rows]),
    ]


def _metrics(pool: _Pool, name: str, draws: list[np.ndarray]) -> SubsetMetrics:
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


def _flat_kmeans_rows(pool: _Pool, size: int) -> np.ndarray | None:
    """The same draw from plain k-means with level 1's k: what the hierarchy and resampling add to it."""
    from curation_assets.algorithms.randomness import Purpose, keyed_priorities
    from curation_assets.algorithms.sampling import draw, plan_quotas

    if not pool.spec.levels[0].steps:
        return None
    fitted = pool.storage.output(level_asset(1, "initial")).array(ASSIGNMENTS)
    rows, positions = _fitted_rows(pool)
    admissible = pool.index.admissible[rows]
    rows, positions = rows[admissible], positions[admissible]
    if len(rows) < size:
        # The fit was on few of the rows there are now: no draw of this size to compare with.
        return None
    clusters = np.asarray(fitted)[positions]
    quotas = plan_quotas(np.bincount(clusters), [], size, seed=pool.spec.seed).quotas[0]
    priorities = keyed_priorities(pool.index.id_hashes[rows], pool.spec.seed, Purpose.DRAW)
    return rows[draw(clusters, priorities, quotas)]


def _fitted_rows(pool: _Pool) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the pool that level 1 was fitted on and that are still there, and their positions in the fit."""
    chosen = pool.storage.fit_rows()
    every = np.arange(len(pool.index.clusters))
    if chosen is None:
        return every, every
    number_of = {key: number for number, key in enumerate(pool.index.shards)}
    rows, positions = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    start = 0
    for key, part in sorted(chosen.shards.items()):
        number = number_of.get(key)
        read = pool.storage.output("admitted" if part.embeddings else "embeddings", key)
        facts = read.facts()
        if number is not None and facts is not None and facts.digest == part.digest:
            inside = read.array(KEPT) if part.embeddings else np.arange(part.n_rows)
            rows.append(pool.index.starts[number] + inside)
            positions.append(np.arange(start, start + part.n_rows))
        start += part.n_rows
    return np.concatenate(rows), np.concatenate(positions)


def _levels(pool: _Pool, every: np.ndarray) -> list[LevelSummary]:
    from curation_assets.algorithms.balance import balance_of

    summaries = []
    for level, sizes in enumerate(pool.counts(every), start=1):
        facts = pool.storage.output(level_asset(level, "clusters")).require_facts().summary
        steps = pool.spec.levels[level - 1].steps
        kept = None
        if steps:
            resampled = pool.storage.output(level_asset(level, "resampled")).require_facts()
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
            )
        )
    return summaries


def _label_table(
    pool: _Pool, every: np.ndarray, random_rows: np.ndarray, rows: np.ndarray
) -> dict[str, tuple[int, int, int]]:
    columns = [pool.label_counts(part).tolist() for part in (every, random_rows, rows)]
    return {name: counts for name, *counts in zip(pool.label_names, *columns, strict=True)}  # type: ignore[misc]


def _rejections(storage: PoolStorage, shards: list[str]) -> tuple[int, dict[str, int]]:
    totals: dict[str, int] = {}
    for shard in shards:
        for reason, count in storage.output("ledger", shard).require_facts().summary["rejections"].items():
            totals[reason] = totals.get(reason, 0) + count
    return sum(totals.values()), totals


def _largest_clusters(pool: _Pool, selected: np.ndarray) -> list[tuple[tuple[int, int, int], np.ndarray]]:
    """(cluster, size, selected) of the top level's largest clusters, with their most central rows."""
    level = pool.spec.n_levels
    clusters = pool.clusters_at(level)
    sizes = np.bincount(clusters, weights=pool.index.admissible).astype(np.int64)
    distances = np.concatenate(
        [
            pool.storage.output(level_asset(level, "assign"), shard).table("parquet")["distance"]
            for shard in pool.index.shards
        ]
    )
    taken = np.bincount(clusters[selected], minlength=len(sizes))
    found = []
    for cluster in np.argsort(-sizes, kind="stable")[:CARDS]:
        members = np.flatnonzero((clusters == cluster) & pool.index.admissible)
        if len(members):
            central = members[np.argsort(distances[members], kind="stable")[:CARD_IMAGES]]
            found.append(((int(cluster), int(sizes[cluster]), int(taken[cluster])), central))
    return found


def _card(pool: _Pool, card: tuple[int, int, int], central: np.ndarray) -> ClusterCard:
    cluster, size, taken = card
    top: list[tuple[str, int]] = []
    if pool.labels is not None:
        inside = (pool.clusters_at(pool.spec.n_levels) == cluster) & pool.index.admissible
        counts = pool.label_counts(np.flatnonzero(inside))
        best = np.argsort(-counts, kind="stable")[:3]
        top = [(pool.label_names[i], int(counts[i])) for i in best if counts[i]]
    share = size / pool.index.admissible.sum()
    return ClusterCard(pool.spec.n_levels, cluster, size, share, taken, top, _pictures(pool, central))


def _pictures(pool: _Pool, rows: np.ndarray) -> list[Thumbnail]:
    return [pool.thumbnails[int(row)] for row in rows if int(row) in pool.thumbnails]


def _load_thumbnails(pool: _Pool, reader: ShardReader, rows: np.ndarray) -> None:
    from curation_assets.formats.images import thumbnail

    source = pool.spec.source
    if isinstance(source, EmbeddingsSource):
        return

    shard_of_row, _ = pool.index.locate(rows)
    shards = {shard.key: shard for shard in pool.storage.shards()}
    for number in np.unique(shard_of_row):
        key = pool.index.shards[number]
        raw = pool.storage.output("raw_pool", key).table(RAW_TABLE)
        mine = rows[shard_of_row == number]
        wanted = {}
        for row in mine.tolist():
            record = raw.row(int(pool.raw_rows[row]), named=True)
            labels = [str(record[LABEL_PREFIX + name]) for name in pool.spec.source.label_fields]
            wanted[record["file"], record["offset"]] = (row, " · ".join([record["sample_id"], *labels]))
        for file in shards[key].files:
            for item in reader.read(file.path):
                if isinstance(item, RawSample) and (file.path, item.offset) in wanted:
                    row, caption = wanted[file.path, item.offset]
                    picture = thumbnail(item.content, source.max_image_pixels)
                    pool.thumbnails[row] = Thumbnail(picture, caption)
