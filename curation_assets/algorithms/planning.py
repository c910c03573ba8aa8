"""The planner: sizes of the levels from the pool's size, and what a fit will cost before it runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from curation_assets.algorithms.hierarchy import LevelSpec

# The paper's pools shrink by 5 to 20 from level to level below a top of about n^0.45 clusters (743 M samples
# under 10 k). Steeper small trees collapse: one top cluster holds most of the pool.
_SMALLEST_RATIO, _LARGEST_RATIO = 5.0, 20.0
_TOP_EXPONENT = 0.45
_FEWEST_TOP_CLUSTERS = 4
# Fits stop early by tolerance; measured means over levels and resampling steps.
_TYPICAL_ITERATIONS = 12


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
    """Rows kept resident (up to 2 GiB), sums and centroids of the largest fit, state per row."""


def estimate_cost(n_samples: int, dimension: int, levels: Sequence[LevelSpec]) -> CostEstimate:
    """Cost of fitting a hierarchy.

    Args:
        n_samples: rows of the pool.
        dimension: length of an embedding.
        levels: the levels' settings.
    """
    distances, n_inputs = 0, n_samples
    for spec in levels:
        iterations = min(spec.max_iterations, _TYPICAL_ITERATIONS)
        width = spec.n_clusters
        if spec.n_coarse_clusters:
            width = spec.n_coarse_clusters + spec.n_clusters // spec.n_coarse_clusters
        subset = min(n_inputs, spec.n_clusters * spec.kept_per_cluster(n_inputs))
        distances += n_inputs * width * (iterations + 1)
        distances += spec.steps * spec.n_clusters * (subset * (iterations + 1) + n_inputs)
        n_inputs = spec.n_clusters
    resident = min(4 * n_samples * dimension, 2 * 2**30)
    # Float64 sums, float32 centroids old and new, and 40 bytes of state a row.
    memory = resident + levels[0].n_clusters * dimension * (8 + 4 + 4) + 40 * n_samples
    return CostEstimate(distances, 2 * n_samples * dimension, memory)
