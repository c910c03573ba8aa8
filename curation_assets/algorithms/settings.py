"""Settings of the method that pools offer under the same names. Imports nothing, so that reading a pool stays fast."""

from typing import Literal

Metric = Literal["cosine", "l2"]
Strategy = Literal["closest", "random"]
"""Which rows of a cluster are kept or drawn."""
DEFAULT_MEMORY_BUDGET = 4 * 10**9
"""Bytes of a process that fits."""
DEFAULT_EVENNESS = 0.75
"""Of draws: shares grow with the fourth root of a cluster's size."""
DEFAULT_RESAMPLING_STEPS = 10
DEFAULT_MAX_ITERATIONS = 50
DEFAULT_TOLERANCE = 1e-4
"""A fit stops when an iteration improves the inertia by less than this share."""


def default_resampling_steps(given: int | None, n_coarse_clusters: int | None) -> int:
    """Resampling steps of a level: as given, else the default, else 0 for a split level."""
    if given is not None:
        return given
    return 0 if n_coarse_clusters else DEFAULT_RESAMPLING_STEPS
