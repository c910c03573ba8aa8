"""The planner: sizes of the levels from the pool's size, and how a fit keeps within its memory."""

from __future__ import annotations

from itertools import pairwise
from math import isqrt

from curation_assets.algorithms.hierarchy import LevelSpec
from curation_assets.algorithms.kmeans.tiles import FitMemory
from curation_assets.algorithms.rows import CHUNK_BYTES
from curation_assets.algorithms.splitting import BUCKET_BYTES

CLUSTERS_PER_TARGET_SAMPLE = 2
"""Clusters of level 1 for each sample of the largest target, so that level 2 has one. Measured on six pools: with 1,
the draw has 0.92 to 0.96 of the effective labels of flat k-means on three of them."""
LEAST_RATIO = 1.7
"""Between the clusters of neighbouring levels; a level that would be closer to the one below tells nothing new."""
# Small tops collapse: of 30 clusters one held 38 to 77 % of a pool, and outliers owned the rest.
_FEWEST_TOP_CLUSTERS = 60
_ROWS_PER_TOP_CLUSTER = 4
# Without a target, as for one of a tenth of the pool.
_ROWS_PER_TARGET_SAMPLE = 10
_LEAST_ROWS_PER_CLUSTER = 2
# Most clusters of level 1: 10 n^(2/3). For 20,000 rows that is nearly what a fifth of them asks for, for 743 million
# images 8 million, where the paper has 10 (section 4.3). So the cost of a fit grows with n^(5/3), not with n^2.
_MOST_FACTOR, _MOST_EXPONENT = 10, 2 / 3
# Measured (benchmarks/out_of_core.py, a worker on Ray): a process with Dagster or Ray, torch, polars and numba loaded
# and their buffers, 0.77 to 1.01 GB by the machine; and what the stages of a fit hold of every row (clusters, scores,
# distances, the resampled subset, sorting it).
PROCESS_BYTES = 1050 * 10**6
ROW_STATE_BYTES = 100
# For each value of a centroid: float64 sums, their changes, and means or changes not yet added; float32 of before and
# after, of those that moved and of all in the order of their sketches.
_WIDTH_BYTES = 8 + 8 + 8 + 4 + 4 + 4 + 4
# Of a worker of a cluster: the sums and means are where what all workers send comes together.
_WORKER_WIDTH_BYTES = 8 + 8 + 4 + 4 + 4 + 4
# Chunks in memory: two worked on, one being prepared from another.
_CHUNKS, _LEAST_CHUNK_BYTES, _LEAST_BUCKET_BYTES = 4, 4 * 2**20, 4 * 2**20


def plan_levels(n_samples: int, n_levels: int = 4, target_size: int | None = None) -> list[LevelSpec]:
    """Levels for a pool: their clusters, level 1 first; all else is the default.

    Level 1 has two clusters for each sample of the target, but at least 2 rows a cluster and at most 10 n^(2/3)
    clusters. Level 2 has half as many. The top level has about the square root of n, at least 60 clusters unless the
    pool is tiny, and no more than level 2. Ratios from level 2 to the top are even. Levels at the top are left out if
    neighbours would differ by less than a factor of 1.7. docs/planning.md has what was measured.

    Args:
        n_samples: rows that level 1 is fitted on.
        n_levels: most levels; with two, the upper one is the top.
        target_size: samples of the largest target; None plans for a tenth of the rows.

    Returns:
        1 to n_levels levels of strictly falling size, level 1 with at most half of the rows.

    Raises:
        ValueError: if an argument is below 1.
    """
    for name, value in (("n_samples", n_samples), ("n_levels", n_levels), ("target_size", target_size)):
        if value is not None and value < 1:
            raise ValueError(f"{name} is {value}, but must be at least 1")
    first = _level_1_clusters(n_samples, target_size)
    second = max(1, first // CLUSTERS_PER_TARGET_SAMPLE)
    fewest = min(_FEWEST_TOP_CLUSTERS, n_samples // _ROWS_PER_TOP_CLUSTER)
    top = min(second, max(isqrt(n_samples), fewest))
    for n_upper in range(n_levels - 1, 0, -1):
        ratio = (second / top) ** (1 / max(1, n_upper - 1))
        upper = [round(second / ratio**t) for t in range(n_upper)] if n_levels > 2 else [top]
        if upper[-1] > 1 and all(below >= LEAST_RATIO * above for below, above in pairwise([first, *upper])):
            return [LevelSpec(n_clusters=size) for size in (first, *upper)]
    return [LevelSpec(n_clusters=first)]


def _level_1_clusters(n_samples: int, target_size: int | None) -> int:
    wanted = CLUSTERS_PER_TARGET_SAMPLE * (target_size or n_samples // _ROWS_PER_TARGET_SAMPLE)
    wanted = max(wanted, CLUSTERS_PER_TARGET_SAMPLE * _FEWEST_TOP_CLUSTERS)
    most = min(round(_MOST_FACTOR * n_samples**_MOST_EXPONENT), n_samples // _LEAST_ROWS_PER_CLUSTER)
    return max(1, min(wanted, most))


def fit_memory(budget: int, n_inputs: int, dimension: int, spec: LevelSpec) -> FitMemory:
    """How the fit of a level keeps its process within a budget.

    Args:
        budget: bytes of the whole process, interpreter and libraries included.
        n_inputs: rows the level is fitted on.
        dimension: length of a row.
        spec: of the level.

    Returns:
        What is left for rows, and chunks of a size that goes with it.

    Raises:
        ValueError: if what a fit holds beside the rows takes more than the budget, naming what it needs at least.
    """
    chunk = chunk_bytes_within(budget)
    fixed = fixed_bytes(n_inputs, dimension, spec, chunk)
    if fixed > budget:
        raise ValueError(
            f"memory_budget is {budget / 1e9:,.2f} GB, but a fit of {n_inputs:,} rows of {dimension:,} dimensions to "
            f"{spec.n_clusters:,} clusters needs at least {fixed / 1e9:,.2f} GB beside the rows: raise it, or fit "
            f"fewer rows (fit_rows) or clusters, or split the level (n_coarse_clusters)"
        )
    return FitMemory(budget - fixed, chunk)


def bucket_bytes(memory: FitMemory) -> int:
    """Rows of a split level that are split at a time: each is held about twice over, as float16 and float32."""
    return max(_LEAST_BUCKET_BYTES, min(BUCKET_BYTES, memory.resident_bytes // 2))


def fixed_bytes(
    n_rows: int, dimension: int, spec: LevelSpec, chunk_bytes: int, *, is_shared: bool = False
) -> int:
    """What a process that fits a level takes beside the rows themselves, in bytes.

    Args:
        n_rows: rows of the fit, or of the process's part.
        dimension: length of a row.
        spec: of the level.
        chunk_bytes: of a chunk that is read at once.
        is_shared: whether the process is one of several workers.
    """
    # Centroids of a split level's splits go to disk.
    width = spec.n_coarse_clusters or spec.n_clusters
    centroids = dimension * (_WORKER_WIDTH_BYTES if is_shared else _WIDTH_BYTES) * width
    return PROCESS_BYTES + ROW_STATE_BYTES * n_rows + centroids + _CHUNKS * chunk_bytes


def chunk_bytes_within(budget: int) -> int:
    """Bytes of a chunk of float32 rows that is read at once, given the memory budget of the process."""
    return min(CHUNK_BYTES, max(_LEAST_CHUNK_BYTES, budget // 128))
