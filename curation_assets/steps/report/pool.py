"""The pool's columns that a report is computed from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from curation_assets.pools import PoolSpec
from curation_assets.steps.dataset.pool_index import PoolIndex
from curation_assets.steps.dataset.shard_tables import shard_tables
from curation_assets.storage.clusters import read_parents
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.tables import LABEL_PREFIX


@dataclass(frozen=True, slots=True)
class ReportPool:
    """Per-row columns in canonical order, of every embedded row."""

    spec: PoolSpec
    storage: PoolStorage
    index: PoolIndex
    parents: list[np.ndarray]
    labels: np.ndarray | None
    """int64 (n,): code of each row's label, -1 for none."""
    label_names: list[str]
    raw_rows: np.ndarray
    """uint32 (n,): row of the shard's raw pool."""

    @classmethod
    def read(cls, spec: PoolSpec, storage: PoolStorage) -> ReportPool:
        """Collect the columns of all shards."""
        index = PoolIndex.read(shard_tables(spec, storage))
        rows = [storage.embedded(shard).rows.column("raw_row") for shard in index.shards]
        labels, names = None, []
        if spec.source.label_fields:
            column = LABEL_PREFIX + spec.source.label_fields[0]
            parts = [
                storage.raw_pool(shard).samples.column(column).gather(mine)
                for shard, mine in zip(index.shards, rows, strict=True)
            ]
            values = pl.concat(parts)
            names = values.drop_nulls().unique().sort().to_list()
            codes = values.replace_strict(names, range(len(names)), default=-1, return_dtype=pl.Int64)
            labels = codes.fill_null(-1).to_numpy()
        parents = read_parents(storage, spec.n_levels)
        raw_rows = np.concatenate([column.to_numpy() for column in rows])
        return cls(spec, storage, index, parents, labels, names, raw_rows)

    def admissible_rows(self) -> np.ndarray:
        """Rows that the tree is drawn from, ascending: neither duplicates nor contaminated."""
        return np.flatnonzero(self.index.admissible)

    def starts(self) -> dict[str, int]:
        """First row of each shard."""
        return dict(zip(self.index.shards, self.index.starts.tolist(), strict=False))

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
