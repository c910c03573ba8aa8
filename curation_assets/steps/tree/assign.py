"""level_t_assign: the cluster of every row of a shard, and its distance to that cluster's centroid."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from curation_assets.steps.context import StepContext
from curation_assets.steps.tree.card import named_card
from curation_assets.storage import clusters
from curation_assets.storage.array_files import StoredRows
from curation_assets.storage.outputs import OutputWriter
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.tables import Assigned

if TYPE_CHECKING:
    from curation_assets.algorithms.preprocessing import PreparedRows


class ShardAssigner:
    """Assigns the rows of shards to the clusters of one level; reads and prepares the centroids once for many shards.

    At level 1 a row goes to its nearest centroid, above to the parent of its cluster.
    """

    def __init__(self, storage: PoolStorage, level: int, *, device: str = "cpu") -> None:
        from curation_assets.algorithms.tree import LevelAssigner

        stored = storage.clusters(level)
        self._storage, self._level, self._device = storage, level, device
        self._preprocessing = clusters.read_preprocessing(storage.clusters(1))
        coarse, centroids = clusters.read_coarse(stored), stored.centroids.read()
        # A split level may have many centroids; only those of one coarse cluster are needed at a time.
        centroids = np.array(centroids) if coarse is None else centroids
        metric = self._preprocessing.metric
        self._assigner = LevelAssigner(centroids, coarse, metric=metric, device=device)
        self._parents = np.asarray(stored.assignments.read()) if level > 1 else None

    def assign_shard(self, shard: str, writer: OutputWriter) -> None:
        """Store the cluster and distance of every row of the shard.

        Raises:
            StaleInputError: if the shard's embeddings, or its clusters at the level below, are missing.
        """
        from curation_assets.algorithms.preprocessing import PreparedRows

        embedded = self._storage.embedded(shard)
        embedded.require_facts()
        rows = PreparedRows(StoredRows(embedded.vectors.path), self._preprocessing)
        found, distances = self._assigned(rows, shard)
        Assigned.rows.write(writer, pl.DataFrame({"cluster": found, "distance": distances}))
        writer.summary.update(
            n_rows=rows.n_rows,
            n_clusters_used=len(np.unique(found)),
            mean_distance=round(float(distances.mean()), 6) if rows.n_rows else None,
        )

    def _assigned(self, rows: PreparedRows, shard: str) -> tuple[np.ndarray, np.ndarray]:
        """Cluster int64 (n,) and distance float32 (n,) of the rows of a shard."""
        from curation_assets.algorithms.kmeans.assigning import assign_tiles, pays_for_tiles
        from curation_assets.algorithms.rows import read_chunks

        if self._level == 1 and self._assigner.whole is not None and pays_for_tiles(self._device):
            return assign_tiles(rows, self._assigner.whole, self._device)
        below = None
        if self._level > 1:
            below = self._storage.assigned(self._level - 1, shard).rows.column("cluster").to_numpy()
        found = np.empty(rows.n_rows, dtype=np.int64)
        distances = np.empty(rows.n_rows, dtype=np.float32)
        for start, block in read_chunks(rows):
            stop = start + len(block)
            if self._parents is None or below is None:
                found[start:stop], distances[start:stop] = self._assigner.assign(block)
            else:
                found[start:stop] = self._parents[below[start:stop]]
                distances[start:stop] = self._assigner.distances_to(block, found[start:stop])
        return found, distances


def assign_shard(step: StepContext) -> None:
    """Assign a shard's rows, see `ShardAssigner.assign_shard`. Each process reads the centroids once."""
    from curation_assets.pools.device import resolve_device

    storage, level = step.storage, step.step.level
    centroids = storage.clusters(level).require_facts().digest
    device = resolve_device(step.spec.fit_device, "fit_device")
    with named_card(device, step.spec.device_memory):
        assigner = _assigner(str(storage.folder.parent), storage.pool, level, device, centroids)
        assigner.assign_shard(step.shard.key, step.writer)
    step.report(1.0, f"{step.writer.summary['n_rows']:,} rows")


@lru_cache(maxsize=1)
def _assigner(storage_root: str, pool: str, level: int, device: str, centroids: str) -> ShardAssigner:
    """The assigner for centroids with this digest."""
    return ShardAssigner(PoolStorage(storage_root, pool), level, device=device)
