"""The planner: sizes of the levels from the pool's size, and what a fit will cost before it runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from curation_assets.algorithms.hierarchy import LevelSpec
from curation_assets.algorithms.rows import CHUNK_BYTES
from curation_assets.algorithms.splitting import BUCKET_BYTES
from curation_assets.algorithms.tiles import FitMemory

# The paper's pools shrink by 5 to 20 from level to level below a top of about n^0.45 clusters (743 M samples
# under 10 k). Steeper small trees collapse: one top cluster holds most of the pool.
_SMALLEST_RATIO, _LARGEST_RATIO = 5.0, 20.0
_TOP_EXPONENT = 0.45
_FEWEST_TOP_CLUSTERS = 4
# Fits stop early by tolerance; measured means over levels and resampling steps.
_TYPICAL_ITERATIONS = 12
DEFAULT_MEMORY_BUDGET = 4 * 10**9
# Measured (benchmarks/out_of_core.py): a process with Dagster, torch and polars loaded and their buffers, and what
# the stages of a fit hold of every row (clusters, scores, distances, the resampled subset, sorting it).
PROCESS_BYTES = 800 * 10**6
ROW_STATE_BYTES = 100
_WIDTH_BYTES = 8 + 8 + 4 + 4
# Chunks in memory: one worked on, one ready, one being prepared from another.
_CHUNKS, _LEAST_CHUNK_BYTES, _LEAST_BUCKET_BYTES = 4, 4 * 2**20, 4 * 2**20


def plan_n_clusters(n_samples: int, n_levels: int) -> list[int]:
    """Clusters of each level for a pool, level 1 first.

    Args:
        n_samples: rows of the pool.
        n_levels: levels of the hierarchy.

    Returns:
        n_levels strictly falling numbers, the first below n_samples.

    Raises:
        ValueError: if the pool is too small for so many levels.
    """
    if n_samples < 2 ** (n_levels + 1):
        raise ValueError(
            f"{n_samples:,} samples are too few for {n_levels} levels: use at least {2 ** (n_levels + 1):,} "
            f"samples or fewer levels"
        )
    ratio = (n_samples / n_samples**_TOP_EXPONENT) ** (1 / n_levels)
    ratio = min(max(ratio, _SMALLEST_RATIO), _LARGEST_RATIO)
    ratio = min(ratio, (n_samples / min(_FEWEST_TOP_CLUSTERS, n_samples / 2**n_levels)) ** (1 / n_levels))
    return [max(n_levels - t, int(n_samples / ratio ** (t + 1))) for t in range(n_levels)]


@dataclass(frozen=True, slots=True)
class CostEstimate:
    """What a fit will take, to the order of magnitude."""

    distance_computations: int
    """Row-to-centroid distances; each is 2 d floating-point operations."""
    embeddings_bytes: int
    """float16 on disk."""
    memory_bytes: int
    """Peak of the process with the largest fit, within the budget; more than that if the budget is too small."""
    rows_resident: bool
    """Whether level 1 holds its rows in memory, instead of reading them in every pass."""


def estimate_cost(
    n_samples: int,
    dimension: int,
    levels: Sequence[LevelSpec],
    *,
    fit_rows: int | None = None,
    memory_budget: int = DEFAULT_MEMORY_BUDGET,
) -> CostEstimate:
    """Cost of fitting a hierarchy.

    Args:
        n_samples: rows of the pool.
        dimension: length of an embedding.
        levels: the levels' settings.
        fit_rows: rows of the sample that level 1 is fitted on; None fits it on all.
        memory_budget: of a process, in bytes.
    """
    distances, n_inputs = 0, n_samples if fit_rows is None else min(fit_rows, n_samples)
    memory, rows_resident = 0, []
    for spec in levels:
        iterations = min(spec.max_iterations, _TYPICAL_ITERATIONS)
        width = spec.n_clusters
        if spec.n_coarse_clusters:
            width = spec.n_coarse_clusters + spec.n_clusters // spec.n_coarse_clusters
        subset = min(n_inputs, spec.n_clusters * spec.kept_per_cluster(n_inputs))
        distances += n_inputs * width * (iterations + 1)
        distances += spec.steps * spec.n_clusters * (subset * (iterations + 1) + n_inputs)
        fixed = fixed_bytes(n_inputs, dimension, spec, _chunk_bytes(memory_budget))
        rows = 4 * n_inputs * dimension
        rows_resident.append(fixed + rows <= memory_budget)
        memory = max(memory, fixed + rows if rows_resident[-1] else max(fixed, memory_budget))
        n_inputs = spec.n_clusters
    # The rows that are not fitted on are assigned all the same.
    distances += (n_samples - min(fit_rows or n_samples, n_samples)) * levels[0].n_clusters
    return CostEstimate(distances, 2 * n_samples * dimension, memory, rows_resident[0])


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
    chunk = _chunk_bytes(budget)
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


def fixed_bytes(n_inputs: int, dimension: int, spec: LevelSpec, chunk_bytes: int) -> int:
    """What a process that fits a level takes beside the rows themselves, in bytes."""
    width = spec.n_coarse_clusters or spec.n_clusters
    # Float64 sums and means, float32 centroids old and new; those of a split level's splits go to disk.
    centroids = dimension * _WIDTH_BYTES * width
    return PROCESS_BYTES + ROW_STATE_BYTES * n_inputs + centroids + _CHUNKS * chunk_bytes


def _chunk_bytes(budget: int) -> int:
    return min(CHUNK_BYTES, max(_LEAST_CHUNK_BYTES, budget // 128))
