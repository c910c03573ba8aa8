"""The flat k-means that subsets are compared with: level 1 as it was before any resampling."""

from __future__ import annotations

import numpy as np

from curation_assets.pools import PoolSpec
from curation_assets.steps.dataset.pool_index import PoolIndex
from curation_assets.steps.tree.fit_sample import read_sample
from curation_assets.storage.pool_storage import PoolStorage


def read_flat_clusters(spec: PoolSpec, storage: PoolStorage, index: PoolIndex) -> tuple[np.ndarray, int]:
    """The cluster of every row of the pool in plain k-means with the k of level 1.

    Without resampling these are level 1's own clusters. With it they are those of its first fit, which are known for
    the rows that it was fitted on.

    Returns:
        int32 (n,), -1 for a row whose cluster is not known, and the number of clusters. Memory: 4 bytes a row, and
        20 for each fitted row, with resampling at level 1; none without.
    """
    if not spec.levels[0].steps_at(1):
        return index.clusters, len(storage.clusters(1).centroids.read())
    first = storage.initial(1)
    rows, positions = _fitted_rows(storage, index)
    clusters = np.full(len(index.clusters), -1, dtype=np.int32)
    clusters[rows] = first.assignments.read()[positions]
    return clusters, len(first.centroids.read())


def _fitted_rows(storage: PoolStorage, index: PoolIndex) -> tuple[np.ndarray, np.ndarray]:
    """Rows that level 1 was fitted on and that still exist, and their positions in the fit."""
    chosen = storage.fit_rows()
    sample = read_sample(storage, storage.initial(1))
    if chosen is None and sample is None:
        every = np.arange(len(index.clusters))
        return every, every
    starts = dict(zip(index.shards, index.starts.tolist(), strict=False))
    shards = sorted(chosen.shards) if chosen else index.shards
    rows, positions = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    position = 0
    for key in shards:
        part = chosen.shards[key] if chosen else None
        admitted = storage.admitted(key) if part and part.embeddings else None
        facts = (admitted or storage.embedded(key)).facts()
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
