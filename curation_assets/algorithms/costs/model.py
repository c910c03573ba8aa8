"""What curating a pool costs before it runs: distance computations, memory, disk and network of every stage.

Stages follow the assets: seeds and Lloyd of the initial fit, resampled fits, re-assignments between them, and the
assignment of every row of the pool. docs/planning.md has the formulas, and how they compare with measured fits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Literal

from curation_assets.algorithms.costs.device_memory import DeviceFit, device_fit
from curation_assets.algorithms.costs.kmeans_cost import (
    FitCost,
    inside_assignment_cost,
    lloyd_cost,
    seeding_cost,
)
from curation_assets.algorithms.costs.planning import bucket_bytes, chunk_bytes_within, fixed_bytes
from curation_assets.algorithms.hierarchy import LevelSpec
from curation_assets.algorithms.kmeans.tiles import FitMemory
from curation_assets.algorithms.rows import CHUNK_BYTES
from curation_assets.algorithms.settings import DEFAULT_MEMORY_BUDGET

Stage = Literal["seeds", "Lloyd", "resampled fits", "re-assign", "runs", "splits", "assign"]

# Bytes of a value: sums are float64, centroids float32, embeddings on disk float16.
_SUM, _CENTROID, _EMBEDDING = 8, 4, 2
# Bytes of a row: its cluster and distance; as part of a resampled subset its number, cluster and rank.
_ASSIGNED, _RESAMPLED = 8 + 4, 3 * 8
_COARSE_CLUSTER = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A pool and how it is to be curated.

    Raises:
        ValueError: if a value is out of range, or a level has fewer inputs than clusters.
    """

    n_rows: int
    """Rows of the pool."""
    dimension: int
    levels: Sequence[LevelSpec]
    fit_rows: int | None = None
    """Rows of the sample that level 1 is fitted on; None fits it on all."""
    workers: int = 1
    """Processes that share the rows of every fit, each with a part of its own."""
    memory_budget: int = DEFAULT_MEMORY_BUDGET
    """Bytes of each of them."""
    device_memory: int | None = None
    """Bytes of a card that the fits of a worker may take; None fits on processors."""
    is_centred: bool = False
    """Whether the pool's mean is taken away."""

    def __post_init__(self) -> None:
        for name, value in (
            ("n_rows", self.n_rows),
            ("dimension", self.dimension),
            ("workers", self.workers),
            ("fit_rows", self.n_fitted),
            ("levels", len(self.levels)),
        ):
            if value < 1:
                raise ValueError(f"{name} is {value}, but must be at least 1")
        for level, (spec, n_inputs) in enumerate(zip(self.levels, self.inputs(), strict=True), start=1):
            if spec.n_clusters > n_inputs:
                raise ValueError(
                    f"level {level}: n_clusters is {spec.n_clusters:,}, but the level has only {n_inputs:,} "
                    f"inputs: use a value from 1 to {n_inputs:,}"
                )

    @property
    def n_fitted(self) -> int:
        """Rows that level 1 is fitted on."""
        return self.n_rows if self.fit_rows is None else min(self.fit_rows, self.n_rows)

    def inputs(self) -> list[int]:
        """Inputs of every level's fit."""
        return [self.n_fitted, *(spec.n_clusters for spec in self.levels[:-1])]


@dataclass(frozen=True, slots=True)
class StageCost:
    """One stage of one level, all workers together."""

    level: int
    stage: Stage
    n_rows: int
    """Rows of each fit."""
    n_clusters: int
    """k of each fit."""
    work: FitCost
    """Of each fit."""
    _: KW_ONLY
    n_fits: int = 1
    """Fits, re-assignments or splits of the stage."""
    read_bytes: int = 0
    """From disk, in all passes together."""
    written_bytes: int = 0
    network_bytes: int = 0

    @property
    def distances(self) -> int:
        """Distances computed, each 2 d floating-point operations."""
        return self.n_fits * self.work.distances


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelMemory:
    """What the process of a worker takes at its peak in the fit of a level."""

    level: int
    fixed_bytes: int
    """Beside the rows; more than the budget if that is too small."""
    rows_bytes: int
    """In memory of the host, of rows held as float32: all, a resampled subset, a bucket of a split, or none."""
    rows_resident: bool
    """Whether all its rows are held, on its card if it has one, instead of being read in every pass."""
    subset_resident: bool = False
    """Whether a resampled subset is."""
    card: DeviceFit | None = None
    """What the fit takes on its card; None without one."""

    @property
    def total_bytes(self) -> int:
        """Of the host, at the peak."""
        return self.fixed_bytes + self.rows_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskCost:
    """Bytes on disk, before compression."""

    embeddings: int
    assignments: int
    """Cluster and distance of every row at every level and of every level's inputs, and resampled subsets."""
    centroids: int
    split_files: int
    """Working files of a split level, removed when it is stored."""

    @property
    def total(self) -> int:
        """At the peak."""
        return self.embeddings + self.assignments + self.centroids + self.split_files


@dataclass(frozen=True, slots=True)
class Plan:
    """The cost of a workload."""

    stages: tuple[StageCost, ...]
    memory: tuple[LevelMemory, ...]
    disk: DiskCost

    @property
    def distances(self) -> int:
        """Of all stages."""
        return sum(stage.distances for stage in self.stages)

    @property
    def network_bytes(self) -> int:
        """Of all stages and workers."""
        return sum(stage.network_bytes for stage in self.stages)

    @property
    def worker_bytes(self) -> int:
        """Memory of a worker in the largest fit."""
        return max(level.total_bytes for level in self.memory)


def plan_cost(workload: Workload, *, at_most: bool = False) -> Plan:
    """Cost of the fits and assignments of a pool; embedding, deduplication and selection are not in it.

    With `at_most` every fit runs all its iterations and searches all centroids in each, as plain k-means does.
    """
    memory: list[LevelMemory] = []
    stages: list[StageCost] = []
    for level, (spec, n_inputs) in enumerate(zip(workload.levels, workload.inputs(), strict=True), start=1):
        memory.append(level_memory(workload, level))
        of_level = _LevelStages(workload, level, spec, n_inputs, memory[-1], at_most)
        stages.extend(of_level.split() if spec.n_coarse_clusters else of_level.flat())
        stages.append(of_level.assign())
    return Plan(tuple(stages), tuple(memory), disk_cost(workload))


def level_memory(workload: Workload, level: int) -> LevelMemory:
    """Memory of one worker in the fit of a level, 1 for the one that clusters the pool's rows."""
    spec, n_inputs = workload.levels[level - 1], workload.inputs()[level - 1]
    budget, row_bytes = workload.memory_budget, _CENTROID * workload.dimension
    chunk = chunk_bytes_within(budget)
    part = -(-n_inputs // workload.workers)
    fixed = fixed_bytes(part, workload.dimension, spec, chunk, is_shared=workload.workers > 1)
    room = max(0, budget - fixed)
    card = _on_card(workload, level, part)
    n_subset = -(-_distinct_resampled(spec, n_inputs) // workload.workers) if spec.steps_at(level) else 0
    if card is None:
        rows = row_bytes * part if row_bytes * part <= room else 0
        resident, subset = rows > 0, row_bytes * n_subset
        subset_resident = 0 < subset <= room - rows
        rows += subset if subset_resident else 0
    else:
        # Rows that stay stay on the card; the others pass through the host in chunks.
        rows, resident = 0, card.is_resident
        subset = card.rows_bytes // part * n_subset
        subset_resident = 0 < subset <= card.budget - card.total_bytes
    if spec.n_coarse_clusters:
        # A bucket as float16 and float32, after the coarse fit has released its rows.
        rows = max(rows, 2 * bucket_bytes(FitMemory(room, chunk)))
    return LevelMemory(
        level=level,
        fixed_bytes=fixed,
        rows_bytes=rows,
        rows_resident=resident,
        subset_resident=subset_resident,
        card=card,
    )


def _on_card(workload: Workload, level: int, n_rows: int) -> DeviceFit | None:
    """What a worker's part of the rows takes on its card; None without one."""
    if workload.device_memory is None:
        return None
    spec = workload.levels[level - 1]
    return device_fit(
        workload.device_memory,
        n_rows,
        workload.dimension,
        spec.n_coarse_clusters or spec.n_clusters,
        is_centred=workload.is_centred,
        is_level_1=level == 1,
    )


def disk_cost(workload: Workload) -> DiskCost:
    """Bytes that embeddings, clusters and the working files of a split level take on disk."""
    n_rows, d = workload.n_rows, workload.dimension
    assignments, centroids, split_files = _ASSIGNED * n_rows * len(workload.levels), 0, 0
    for level, (spec, n_inputs) in enumerate(zip(workload.levels, workload.inputs(), strict=True), start=1):
        steps = spec.steps_at(level)
        copies = 2 if steps else 1
        centroids += copies * _CENTROID * spec.n_clusters * d
        # Level 1's own inputs are the pool's rows: only the fit to resample from keeps their clusters.
        assignments += _ASSIGNED * n_inputs * (copies - (level == 1))
        if steps:
            assignments += _RESAMPLED * spec.n_clusters * spec.kept_per_cluster(n_inputs)
        if spec.n_coarse_clusters:
            centroids += _CENTROID * spec.n_coarse_clusters * d
            memory = level_memory(workload, level)
            room = max(0, workload.memory_budget - memory.fixed_bytes)
            run_rows = max(1, bucket_bytes(FitMemory(room)) // (_CENTROID * d))
            indices = 8 * (spec.n_coarse_clusters + 1) * -(-n_inputs // run_rows)
            split_files += (
                n_inputs * (_EMBEDDING * d + _COARSE_CLUSTER) + indices + _CENTROID * spec.n_clusters * d
            )
    return DiskCost(
        embeddings=_EMBEDDING * n_rows * d,
        assignments=assignments,
        centroids=centroids,
        split_files=split_files,
    )


def _distinct_resampled(spec: LevelSpec, n_inputs: int) -> int:
    """Rows of a resampled subset, each counted once, if no cluster has fewer than are kept."""
    return min(n_inputs, spec.n_clusters * spec.kept_per_cluster(n_inputs))


@dataclass(frozen=True, slots=True)
class _LevelStages:
    workload: Workload
    level: int
    spec: LevelSpec
    n_inputs: int
    memory: LevelMemory
    at_most: bool

    def flat(self) -> Iterator[StageCost]:
        """A level that is not split: the initial fit, then resampled fits with re-assignments in between."""
        yield from self._initial(self.spec.n_clusters)
        steps, n, k = self.spec.steps_at(self.level), self.n_inputs, self.spec.n_clusters
        if not steps:
            return
        subset = _distinct_resampled(self.spec, n)
        seeds, lloyd = self._fit(subset, k)
        held = self.memory.rows_resident or self.memory.subset_resident
        # Held rows are loaded once in each of the two steps of the graph that resample.
        read = (
            2 * n * self._row_bytes
            if self.memory.rows_resident
            else steps * subset * self._row_bytes * (1 if held else seeds.reads + lloyd.reads)
        )
        sent = steps * (self._centroids_sent(k) + self._sums_sent(k, lloyd))
        work, costs = seeds + lloyd, {"n_fits": steps, "read_bytes": read, "network_bytes": sent}
        yield StageCost(self.level, "resampled fits", subset, k, work, **costs)
        # The last step of level 1 is followed by the assignment of the whole pool.
        times = steps - (self.level == 1)
        open_rows = n - subset
        if times and open_rows:
            read = 0 if self.memory.rows_resident else times * n * self._row_bytes
            work = FitCost(open_rows * k, 1, 1)
            yield StageCost(self.level, "re-assign", open_rows, k, work, n_fits=times, read_bytes=read)

    def split(self) -> Iterator[StageCost]:
        """A split level: the coarse fit, its rows brought together by cluster, a fit inside each cluster."""
        coarse, n, workers = self.spec.n_coarse_clusters or 1, self.n_inputs, self.workload.workers
        yield from self._initial(coarse)
        copied = n * self._row_bytes
        # A bucket's rows come from every worker's runs.
        moved = {"written_bytes": copied, "network_bytes": copied * (workers - 1) // workers}
        yield StageCost(self.level, "runs", n, coarse, FitCost(reads=1), read_bytes=copied, **moved)
        inside, per_cluster = max(1, n // coarse), self.spec.per_coarse_cluster
        seeds, lloyd = self._fit(inside, min(per_cluster, inside))
        written = 2 * _CENTROID * self.spec.n_clusters * self.workload.dimension
        work, costs = seeds + lloyd, {"n_fits": coarse, "read_bytes": copied, "written_bytes": written}
        yield StageCost(self.level, "splits", inside, per_cluster, work, **costs)

    def assign(self) -> StageCost:
        """Every row of the pool to its cluster: by search at level 1, by its cluster's parent above."""
        n, d = self.workload.n_rows, self.workload.dimension
        k, coarse = self.spec.n_clusters, self.spec.n_coarse_clusters
        work = FitCost(n * (k if self.level == 1 else 1), 1, 1)
        if coarse:
            inside = self.spec.per_coarse_cluster
            work = inside_assignment_cost(n, coarse, inside, d, chunk_bytes=CHUNK_BYTES)
        read = n * (_EMBEDDING * d + _ASSIGNED * (self.level > 1))
        sent = self._centroids_sent(k + (coarse or 0))
        moved = {"read_bytes": read, "written_bytes": n * _ASSIGNED, "network_bytes": sent}
        return StageCost(self.level, "assign", n, k, work, **moved)

    def _initial(self, k: int) -> Iterator[StageCost]:
        n, resident = self.n_inputs, self.memory.rows_resident
        seeds, lloyd = self._fit(n, k)
        # One pass measures the rows before any fit; rows that are held are then read once.
        passes = 2 if resident else 1 + seeds.reads
        read, sent = passes * n * self._row_bytes, self._centroids_sent(k)
        yield StageCost(self.level, "seeds", n, k, seeds, read_bytes=read, network_bytes=sent)
        read, sent = 0 if resident else lloyd.reads * n * self._row_bytes, self._sums_sent(k, lloyd)
        yield StageCost(self.level, "Lloyd", n, k, lloyd, read_bytes=read, network_bytes=sent)

    def _fit(self, n: int, k: int) -> tuple[FitCost, FitCost]:
        seeds = seeding_cost(n, k, self.workload.dimension, n_local_trials=self.spec.n_local_trials)
        return seeds, lloyd_cost(n, k, self.spec.max_iterations, at_most=self.at_most)

    @property
    def _row_bytes(self) -> int:
        return (_EMBEDDING if self.level == 1 else _CENTROID) * self.workload.dimension

    def _centroids_sent(self, k: int) -> int:
        """Centroids to every worker, if there are several."""
        workers = self.workload.workers
        return workers * _CENTROID * k * self.workload.dimension if workers > 1 else 0

    def _sums_sent(self, k: int, lloyd: FitCost) -> int:
        """In every iteration each worker's sums to where they are merged, and the new centroids back."""
        workers = self.workload.workers
        each = (_SUM + _CENTROID) * k * self.workload.dimension
        return workers * lloyd.passes * each if workers > 1 else 0
