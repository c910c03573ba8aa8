"""Hierarchical k-means with resampling: sections 3.2 and 3.3 of the paper (arXiv 2405.15613)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from curation_assets.algorithms.kmeans.fit import Checkpoints, Iteration, KMeansFit, fit_inputs
from curation_assets.algorithms.kmeans.grouped.fits import GroupedFits
from curation_assets.algorithms.kmeans.inputs import FitInputs
from curation_assets.algorithms.kmeans.tiles import FitMemory
from curation_assets.algorithms.preprocessing import PreparedRows, fit_preprocessing
from curation_assets.algorithms.randomness import Purpose, generator
from curation_assets.algorithms.resampling import ResampledSubset, resample
from curation_assets.algorithms.rows import ArrayRows, Rows
from curation_assets.algorithms.settings import (
    DEFAULT_MAX_ITERATIONS,
    DEFAULT_TOLERANCE,
    Metric,
    Strategy,
    default_resampling_steps,
)
from curation_assets.algorithms.splitting import BUCKET_BYTES, split_level
from curation_assets.algorithms.tree import ClusterTree, Level


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelSpec:
    """Settings of one level.

    Raises:
        ValueError: if a value is out of range, or a split level does not divide evenly or asks for resampling.
    """

    n_clusters: int
    """k of the level."""
    samples_per_cluster: int | None = None
    """Inputs kept per cluster in a resampling step; None keeps half of the mean cluster size, rounded up."""
    resampling_steps: int | None = None
    """None means 0 at level 1, and 10 at the levels above."""
    strategy: Strategy = "closest"
    """Which inputs a resampling step keeps."""
    n_coarse_clusters: int | None = None
    """Split level: fit this many clusters, then split each into n_clusters / n_coarse_clusters."""
    max_iterations: int = DEFAULT_MAX_ITERATIONS
    """Lloyd iterations of each fit."""
    tolerance: float = DEFAULT_TOLERANCE
    """Relative fall of the inertia below which a fit stops."""
    n_local_trials: int | Literal["auto"] = "auto"
    """Candidates per seed, see `kmeans_plus_plus`."""

    def __post_init__(self) -> None:
        n, coarse, steps = self.n_clusters, self.n_coarse_clusters, self.resampling_steps
        kept, most = self.samples_per_cluster, self.max_iterations
        _require(n >= 1, "n_clusters", n, "at least 1")
        _require(kept is None or kept >= 1, "samples_per_cluster", kept, "at least 1")
        _require(steps is None or steps >= 0, "resampling_steps", steps, "at least 0")
        _require(self.strategy in ("closest", "random"), "strategy", self.strategy, "'closest' or 'random'")
        _require(most >= 1, "max_iterations", most, "at least 1")
        _require(0 <= self.tolerance < 1, "tolerance", self.tolerance, "from 0 to below 1")
        if coarse is not None:
            _require(coarse >= 1 and n % coarse == 0, "n_coarse_clusters", coarse, f"a divisor of {n}")
            _require(not steps, "resampling_steps", steps, "0 in a split level")

    def steps_at(self, level: int) -> int:
        """Resampling steps that are run if these are the settings of that level, 1 for the lowest."""
        return default_resampling_steps(self.resampling_steps, level)

    @property
    def per_coarse_cluster(self) -> int:
        """Sub-clusters of each coarse cluster of a split level; all clusters of any other."""
        return self.n_clusters // (self.n_coarse_clusters or 1)

    def kept_per_cluster(self, n_inputs: int) -> int:
        """Inputs that a resampling step keeps per cluster, given the level's inputs."""
        return self.samples_per_cluster or -(-n_inputs // (2 * self.n_clusters))


@dataclass(frozen=True, slots=True)
class FitProgress:
    """Where a fit stands: level and resampling step (0 is the initial fit) and the last Lloyd iteration."""

    level: int
    step: int
    iteration: Iteration


ProgressCallback = Callable[[FitProgress], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelFitter:
    """The stages of one level's fit, so that each can be run, stored and resumed by itself."""

    level: int
    """1 for the level that clusters the pool's rows."""
    spec: LevelSpec
    metric: Metric
    seed: int
    device: str = "cpu"
    on_progress: ProgressCallback | None = None
    memory: FitMemory = field(default_factory=FitMemory)
    bucket_bytes: int = BUCKET_BYTES
    """Rows of a split level that are split at a time, as float32; changes no result."""
    checkpoints: Callable[[int], Checkpoints] | None = None
    """Where the fit of a resampling step (0 is the initial one) keeps its states; None keeps none."""

    @property
    def n_steps(self) -> int:
        """Resampling steps of the level."""
        return self.spec.steps_at(self.level)

    def inputs(self, rows: Rows | FitInputs) -> FitInputs:
        """Inputs ready for one or more stages, in this process unless their workers are elsewhere already."""
        if isinstance(rows, FitInputs):
            return rows
        return FitInputs.in_process(rows, self.metric, device=self.device, memory=self.memory)

    def fit_initial(self, rows: Rows | FitInputs) -> Level:
        """Seeds and Lloyd on all inputs (with coarse clusters and their splits, if the level is split).

        Args:
            rows: prepared inputs, at least n_clusters of them.

        Raises:
            ValueError: if there are fewer inputs than clusters.
        """
        inputs = self.inputs(rows)
        inputs.select()
        n_inputs = inputs.n_inputs
        if n_inputs < self.spec.n_clusters:
            raise ValueError(
                f"level {self.level}: n_clusters is {self.spec.n_clusters:,}, but the level has only "
                f"{n_inputs:,} inputs: use a value from 1 to {n_inputs:,}"
            )
        if self.spec.n_coarse_clusters is None:
            fit = self._kmeans(inputs, self.spec.n_clusters, step=0)
            return Level(fit.centroids, fit.assignments, fit.distances, (fit.inertias,))
        return split_level(
            inputs,
            self.fit_coarse(inputs),
            self.spec.per_coarse_cluster,
            self.fit_cluster,
            together=self.grouped_fits,
            bucket_bytes=self.bucket_bytes,
            device=self.device,
        )

    def fit_coarse(self, rows: Rows | FitInputs) -> KMeansFit:
        """Seeds and Lloyd of the coarse clusters of a split level."""
        return self._kmeans(self.inputs(rows), self.spec.n_coarse_clusters or 1, step=0)

    def fit_cluster(self, inside: Rows, n_clusters: int, cluster: int) -> KMeansFit:
        """Seeds and Lloyd inside one coarse cluster; rows beyond `bucket_bytes` are streamed.

        Args:
            inside: prepared rows of the coarse cluster, in the pool's order.
            n_clusters: sub-clusters to make.
            cluster: number of the coarse cluster.
        """
        memory = replace(self.memory, resident_bytes=self.bucket_bytes)
        inputs = FitInputs.in_process(inside, self.metric, device=self.device, memory=memory)
        return self._kmeans(inputs, n_clusters, step=0, cluster=cluster)

    @property
    def grouped_fits(self) -> GroupedFits:
        """`fit_cluster` of many coarse clusters at once, where that pays."""
        return GroupedFits(
            metric=self.metric,
            max_iterations=self.spec.max_iterations,
            tolerance=self.spec.tolerance,
            n_local_trials=self.spec.n_local_trials,
            device=self.device,
            rng_of=self._rng_inside,
        )

    def resample(self, level: Level, step: int) -> ResampledSubset:
        """The subset of resampling step `step` (1, 2, ...), from the clusters of the step before."""
        return resample(
            level.assignments,
            level.distances,
            n_clusters=self.spec.n_clusters,
            samples_per_cluster=self.spec.kept_per_cluster(len(level.assignments)),
            strategy=self.spec.strategy,
            rng=generator(self.seed, Purpose.RESAMPLING, self.level, step),
        )

    def fit_subset(self, rows: Rows | FitInputs, subset: ResampledSubset, step: int) -> Level:
        """Seeds and Lloyd on the subset alone.

        Returns:
            The level, whose assignments and distances are those of the subset's different rows, ascending.
        """
        inputs = self.inputs(rows)
        # Rows of small clusters are repeated; a weight costs less than copies.
        inputs.select(*np.unique(subset.rows, return_counts=True))
        fit = self._kmeans(inputs, self.spec.n_clusters, step=step)
        return Level(fit.centroids, fit.assignments, fit.distances, (fit.inertias,), resampled=subset)

    def refit(self, rows: Rows | FitInputs, subset: ResampledSubset, step: int) -> Level:
        """Seeds and Lloyd on the subset alone, then every input to its nearest new centroid."""
        inputs = self.inputs(rows)
        level = self.fit_subset(inputs, subset, step)
        assignments, distances = inputs.assign_all(level.centroids)
        return replace(level, assignments=assignments, distances=distances)

    def level_of(self, rows: Rows | FitInputs, centroids: np.ndarray) -> Level:
        """A level from its centroids, float32 (k, d), alone: every prepared input goes to its nearest one."""
        inputs = self.inputs(rows)
        inputs.select()
        inputs.begin(centroids, at_seeds=False)
        return Level(centroids, *inputs.result(), ())

    def fit(self, rows: Rows | FitInputs) -> Level:
        """All stages: the initial fit, then every resampling step."""
        inputs = self.inputs(rows)
        level = self.fit_initial(inputs)
        for step in range(1, self.n_steps + 1):
            refitted = self.refit(inputs, self.resample(level, step), step)
            level = replace(refitted, inertias=level.inertias + refitted.inertias)
        return level

    def _rng_inside(self, cluster: int) -> np.random.Generator:
        """Source of the seeds inside a coarse cluster."""
        return generator(self.seed, Purpose.SPLITTING, self.level, cluster)

    def _kmeans(
        self, inputs: FitInputs, n_clusters: int, *, step: int, cluster: int | None = None
    ) -> KMeansFit:
        if cluster is None:
            rng = generator(self.seed, Purpose.SEEDING, self.level, step)
        else:
            rng = self._rng_inside(cluster)

        def report(iteration: Iteration) -> None:
            # Splits are many, short, and run side by side.
            if self.on_progress and cluster is None:
                self.on_progress(FitProgress(self.level, step, iteration))

        fit = fit_inputs(
            inputs,
            n_clusters,
            rng=rng,
            max_iterations=self.spec.max_iterations,
            tolerance=self.spec.tolerance,
            n_local_trials=self.spec.n_local_trials,
            on_iteration=report,
            checkpoints=self.checkpoints(step) if self.checkpoints and cluster is None else None,
        )
        return KMeansFit(fit.centroids, *inputs.result(), fit.inertias)


def fit_hierarchy(
    x: np.ndarray | Rows,
    levels: Sequence[LevelSpec],
    *,
    metric: Metric = "cosine",
    centring: bool = False,
    seed: int = 0,
    device: str = "cpu",
    on_progress: ProgressCallback | None = None,
    memory: FitMemory | None = None,
) -> ClusterTree:
    """Cluster a pool, then its centroids, level after level, resampling in between.

    Args:
        x: embeddings, float16 or float32 array (n, d), or Rows that are read in chunks.
        levels: one spec per level, n_clusters falling from level to level and at most n; `plan_levels` proposes them.
        metric: 'cosine' normalises inputs and every level's centroids; 'l2' does neither.
        centring: subtract the pool's mean embedding first.
        seed: the same seed, data and settings give the same tree on any machine, with any chunking.
        device: torch device, 'cpu' or 'cuda'.
        on_progress: called after every Lloyd iteration (of a split level: of its coarse fit).
        memory: size up to which rows are kept as float32; larger pools are read in every pass. None takes 2 GiB.

    Returns:
        The tree, which keeps a reference to x. Memory: see `planning.fit_memory`.

    Raises:
        ValueError: if there is no level, levels do not shrink, n_clusters exceeds the inputs, or x has the
            wrong shape or values that are not finite.
    """
    if not levels:
        raise ValueError("levels is empty: give at least one LevelSpec")
    for t in range(1, len(levels)):
        if levels[t].n_clusters >= levels[t - 1].n_clusters:
            raise ValueError(
                f"level {t + 1} has n_clusters={levels[t].n_clusters:,}, but must have fewer than level {t}'s "
                f"{levels[t - 1].n_clusters:,}"
            )
        if levels[t].n_coarse_clusters is not None:
            raise ValueError(f"only level 1 may be a split level, level {t + 1} sets n_coarse_clusters")
    rows = _as_rows(x)
    memory = memory or FitMemory()
    preprocessing = fit_preprocessing(rows, metric=metric, centring=centring, chunk_bytes=memory.chunk_bytes)
    inputs: Rows = PreparedRows(rows, preprocessing)
    fitted: list[Level] = []
    for t, spec in enumerate(levels, start=1):
        fitter = LevelFitter(
            level=t,
            spec=spec,
            metric=metric,
            seed=seed,
            device=device,
            on_progress=on_progress,
            memory=memory,
        )
        fitted.append(fitter.fit(inputs))
        inputs = centroid_inputs(fitted[-1].centroids, metric)
    return ClusterTree(tuple(fitted), preprocessing, seed, rows)


def centroid_inputs(centroids: np.ndarray | Rows, metric: Metric) -> Rows:
    """The inputs of the next level, from centroids float32 (k, d): each weighs 1, whatever its cluster's size."""
    rows = _as_rows(centroids)
    return PreparedRows(rows, fit_preprocessing(rows, metric=metric, centring=False))


def _as_rows(x: np.ndarray | Rows) -> Rows:
    if not isinstance(x, np.ndarray):
        return x
    if x.ndim != 2 or not np.issubdtype(x.dtype, np.floating):
        raise ValueError(f"x must be a float array of shape (n, d), got {x.dtype} of shape {x.shape}")
    return ArrayRows(x)


def _require(holds: bool, name: str, value: object, valid: str) -> None:
    if not holds:
        raise ValueError(f"{name} is {value!r}, but must be {valid}")
