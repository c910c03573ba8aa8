"""Clusters on disk: levels and whole trees as arrays and small JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from curation_assets.storage.outputs import Output, OutputWriter
from curation_assets.storage.pool_storage import PoolStorage

if TYPE_CHECKING:
    from curation_assets.algorithms.preprocessing import Preprocessing
    from curation_assets.algorithms.resampling import ResampledSubset
    from curation_assets.algorithms.tree import CoarseClusters, Level

CENTROIDS = "centroids.npy"
ASSIGNMENTS = "assignments.npy"
DISTANCES = "distances.npy"
MEAN = "mean.npy"
COARSE_CENTROIDS = "coarse_centroids.npy"
COARSE_OF_CLUSTER = "coarse_of_cluster.npy"
SUBSET = "subset.parquet"


def write_level(writer: OutputWriter, level: Level, *, with_inputs: bool) -> None:
    """Store a level's centroids, and the cluster and distance of its inputs if asked for.

    Args:
        writer: of the output.
        level: what to store.
        with_inputs: level 1's inputs are the pool's rows: they get their clusters shard by shard, so that
            nothing as long as the pool is stored in one piece.
    """
    writer.array(CENTROIDS, level.centroids)
    if with_inputs:
        writer.array(ASSIGNMENTS, level.assignments)
        writer.array(DISTANCES, level.distances)
    if level.coarse:
        writer.array(COARSE_CENTROIDS, level.coarse.centroids)
        writer.array(COARSE_OF_CLUSTER, level.coarse.of_cluster)
    writer.summary["inertias"] = [list(fit) for fit in level.inertias]
    writer.summary["n_clusters"] = level.n_clusters


def write_split_level(
    writer: OutputWriter,
    coarse_centroids: np.ndarray,
    inertias: tuple[float, ...],
    of_cluster: Sequence[np.ndarray],
    centroids: Iterable[np.ndarray],
) -> None:
    """Store a split level as `write_level` does without inputs, its centroids piece by piece.

    Args:
        writer: of the output.
        coarse_centroids: float32 (k_coarse, d).
        inertias: of the coarse fit.
        of_cluster: int64 (k_b,) of each bucket.
        centroids: float32 (k_b, d) of each bucket, one at a time in memory.
    """
    n_clusters = sum(map(len, of_cluster))
    shape = (n_clusters, coarse_centroids.shape[1])
    with writer.file(CENTROIDS).open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for piece in centroids:
            file.write(piece.astype("<f4", copy=False).tobytes())
    writer.array(COARSE_CENTROIDS, coarse_centroids)
    writer.array(COARSE_OF_CLUSTER, np.concatenate(of_cluster))
    writer.summary["inertias"] = [list(inertias)]
    writer.summary["n_clusters"] = n_clusters


def write_preprocessing(writer: OutputWriter, preprocessing: Preprocessing) -> None:
    """Store what new rows need before they can be assigned."""
    writer.summary["metric"] = preprocessing.metric
    writer.summary["grid_step"] = preprocessing.grid_step
    if preprocessing.mean is not None:
        writer.array(MEAN, preprocessing.mean)


def read_preprocessing(output: Output) -> Preprocessing:
    """The preprocessing stored with an output of level 1."""
    from curation_assets.algorithms.preprocessing import Preprocessing

    facts = output.require_facts()
    mean = np.array(output.array(MEAN)) if MEAN in facts.files else None
    return Preprocessing(facts.summary["metric"], mean, facts.summary["grid_step"])


def read_coarse(output: Output) -> CoarseClusters | None:
    """The coarse clusters of a split level, if it is one."""
    from curation_assets.algorithms.tree import CoarseClusters

    if COARSE_CENTROIDS not in output.require_facts().files:
        return None
    return CoarseClusters(output.array(COARSE_CENTROIDS), output.array(COARSE_OF_CLUSTER))


def read_level(output: Output) -> Level:
    """A level stored with the clusters of its inputs."""
    from curation_assets.algorithms.tree import Level

    inertias = tuple(tuple(fit) for fit in output.require_facts().summary["inertias"])
    return Level(
        output.array(CENTROIDS),
        output.array(ASSIGNMENTS),
        output.array(DISTANCES),
        inertias,
        coarse=read_coarse(output),
    )


def write_subset(writer: OutputWriter, subset: ResampledSubset) -> None:
    """Store a resampled subset as a table of row, cluster and rank."""
    import polars as pl

    columns = {"row": subset.rows, "cluster": subset.clusters, "rank": subset.ranks}
    writer.table(SUBSET, pl.DataFrame(columns))
    writer.summary["n_rows"] = len(subset.rows)


def read_subset(output: Output) -> ResampledSubset:
    """A stored resampled subset."""
    from curation_assets.algorithms.resampling import ResampledSubset

    table = output.table(SUBSET)
    return ResampledSubset(*(table[name].to_numpy() for name in ("row", "cluster", "rank")))


def read_parents(storage: PoolStorage, n_levels: int) -> list[np.ndarray]:
    """For each level but the top, the cluster of the level above: int64 (k_t,) arrays."""
    return [
        np.array(storage.output(f"level_{level}_clusters").array(ASSIGNMENTS))
        for level in range(2, n_levels + 1)
    ]
