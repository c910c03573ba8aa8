"""Clusters on disk: levels and whole trees as arrays and small JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from curation_assets.storage.array_files import write_header
from curation_assets.storage.outputs import OutputWriter
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.tables import Fitted, LevelClusters, Resampled

if TYPE_CHECKING:
    from curation_assets.algorithms.preprocessing import Preprocessing
    from curation_assets.algorithms.resampling import ResampledSubset
    from curation_assets.algorithms.tree import CoarseClusters, Level


def write_level(writer: OutputWriter, level: Level, *, with_inputs: bool) -> None:
    """Store a level's centroids, and the cluster and distance of its inputs if asked for.

    Args:
        writer: of the output.
        level: what to store.
        with_inputs: level 1's inputs are the pool's rows: they get their clusters shard by shard, so that
            nothing as long as the pool is stored in one piece.
    """
    LevelClusters.centroids.write(writer, level.centroids)
    if with_inputs:
        LevelClusters.assignments.write(writer, level.assignments)
        LevelClusters.distances.write(writer, level.distances)
    if level.coarse:
        LevelClusters.coarse_centroids.write(writer, level.coarse.centroids)
        LevelClusters.coarse_of_cluster.write(writer, level.coarse.of_cluster)
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
    with writer.file(LevelClusters.centroids.name).open("wb") as file:
        write_header(file, "<f4", shape)
        for piece in centroids:
            file.write(piece.astype("<f4", copy=False).tobytes())
    LevelClusters.coarse_centroids.write(writer, coarse_centroids)
    LevelClusters.coarse_of_cluster.write(writer, np.concatenate(of_cluster))
    writer.summary["inertias"] = [list(inertias)]
    writer.summary["n_clusters"] = n_clusters


def write_preprocessing(writer: OutputWriter, preprocessing: Preprocessing) -> None:
    """Store what new rows need before they can be assigned."""
    writer.summary["metric"] = preprocessing.metric
    writer.summary["grid_step"] = preprocessing.grid_step
    if preprocessing.mean is not None:
        Fitted.mean.write(writer, preprocessing.mean)


def read_preprocessing(output: Fitted) -> Preprocessing:
    """The preprocessing stored with an output of level 1, or with `duplicates`."""
    from curation_assets.algorithms.preprocessing import Preprocessing

    facts = output.require_facts()
    mean = np.array(output.mean.read()) if Fitted.mean.name in facts.files else None
    return Preprocessing(facts.summary["metric"], mean, facts.summary["grid_step"])


def read_coarse(output: LevelClusters) -> CoarseClusters | None:
    """The coarse clusters of a split level, if it is one."""
    from curation_assets.algorithms.tree import CoarseClusters

    if LevelClusters.coarse_centroids.name not in output.require_facts().files:
        return None
    return CoarseClusters(output.coarse_centroids.read(), output.coarse_of_cluster.read())


def read_level(output: LevelClusters) -> Level:
    """A level stored with the clusters of its inputs."""
    from curation_assets.algorithms.tree import Level

    inertias = tuple(tuple(fit) for fit in output.require_facts().summary["inertias"])
    return Level(
        output.centroids.read(),
        output.assignments.read(),
        output.distances.read(),
        inertias,
        coarse=read_coarse(output),
    )


def level_above_itself(output: LevelClusters) -> Level:
    """A level whose clusters are those of the stored level below, each the only child of its like."""
    from curation_assets.algorithms.tree import Level

    centroids = np.array(output.centroids.read())
    every = np.arange(len(centroids))
    return Level(centroids, every, np.zeros(len(every), dtype=np.float32), ((0.0,),))


def distinct_levels(n_clusters: int, parents: Sequence[np.ndarray]) -> list[int]:
    """Levels that differ from the one below; a dropped level repeats its clusters, one by one.

    Args:
        n_clusters: of level 1.
        parents: per level but the top, int64 (k_t,): cluster of the level above.
    """
    sizes = [n_clusters, *(int(parent.max()) + 1 for parent in parents)]
    return [1, *(t for t in range(2, len(sizes) + 1) if sizes[t - 1] < sizes[t - 2])]


def n_fitted_levels(storage: PoolStorage, n_levels: int) -> int:
    """Levels of the current tree that are not dropped; those above them repeat the highest of them."""
    stored = (storage.clusters(level).require_facts() for level in range(1, n_levels + 1))
    return sum(not facts.summary.get("dropped") for facts in stored)


def write_subset(writer: OutputWriter, subset: ResampledSubset) -> None:
    """Store a resampled subset as a table of row, cluster and rank."""
    import polars as pl

    columns = {"row": subset.rows, "cluster": subset.clusters, "rank": subset.ranks}
    Resampled.subset.write(writer, pl.DataFrame(columns))
    writer.summary["n_rows"] = len(subset.rows)


def write_empty_subset(writer: OutputWriter) -> None:
    """Store the subset of a level that is not resampled because it is dropped."""
    Resampled.subset.write(writer, Resampled.subset.empty())
    writer.summary.update(n_rows=0, inertias=[], resampling_steps=0)


def read_subset(output: Resampled) -> ResampledSubset:
    """A stored resampled subset."""
    from curation_assets.algorithms.resampling import ResampledSubset

    table = output.subset.read()
    return ResampledSubset(*(table[name].to_numpy() for name in ("row", "cluster", "rank")))


def read_parents(storage: PoolStorage, n_levels: int) -> list[np.ndarray]:
    """For each level but the top, the cluster of the level above: int64 (k_t,) arrays."""
    return [np.array(storage.clusters(level).assignments.read()) for level in range(2, n_levels + 1)]
