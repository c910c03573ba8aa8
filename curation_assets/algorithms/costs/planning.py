"""The planner: sizes of the levels from the pool's size, and how a fit keeps within its memory."""

from __future__ import annotations

from curation_assets.algorithms.hierarchy import LevelSpec
from curation_assets.algorithms.kmeans.tiles import FitMemory
from curation_assets.algorithms.rows import CHUNK_BYTES
from curation_assets.algorithms.splitting import BUCKET_BYTES

# The paper's pools shrink by 5 to 20 from level to level below a top of about n^0.45 clusters (743 M samples
# under 10 k). Steeper small trees collapse: one top cluster holds most of the pool.
_SMALLEST_RATIO, _LARGEST_RATIO = 5.0, 20.0
_TOP_EXPONENT = 0.45
_FEWEST_TOP_CLUSTERS = 4
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


def plan_n_clusters(n_samples: int, n_levels: int) -> list[int]:
    """Clusters of each level for a pool, level 1 first.

    Args:
        n_samples: rows of the pool.
        n_levels: levels of the hierarchy.

    Returns:
        n_levels strictly falling numbers, the first below n_samples.

    Raises:
        ValueError: if the pool is too small for that many levels.
    """
    if n_samples < 2 ** (n_levels + 1):
        raise ValueError(
            f"{n_samples:,} samples are too few for {n_levels} levels: use at least {2 ** (n_levels + 1):,} "
            f"samples or fewer levels"
        )
    # k_t = n / ratio^t for levels t = 1 to L, with ratio^L = n / n^0.45: the top has n^0.45 clusters.
    ratio = (n_samples / n_samples**_TOP_EXPONENT) ** (1 / n_levels)
    ratio = min(max(ratio, _SMALLEST_RATIO), _LARGEST_RATIO)
    ratio = min(ratio, (n_samples / min(_FEWEST_TOP_CLUSTERS, n_samples / 2**n_levels)) ** (1 / n_levels))
    return [max(n_levels - t, int(n_samples / ratio ** (t + 1))) for t in range(n_levels)]


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
