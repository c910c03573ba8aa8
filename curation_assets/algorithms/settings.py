"""Settings of the method that pools offer under the same names. Imports nothing, so that reading a pool stays fast."""

from typing import Literal

Metric = Literal["cosine", "l2"]
Strategy = Literal["closest", "random"]
"""Which rows of a cluster are kept or drawn."""
DEFAULT_MEMORY_BUDGET = 4 * 10**9
"""Bytes of a process that fits."""
DEFAULT_EVENNESS = 0.75
"""Of draws: shares grow with the fourth root of a cluster's size."""
START_LEVEL_DRAWS, START_LEVEL_ROWS = 5, 4_000
"""Draws from each level, and most rows of a draw, that `balance_from: auto` measures. What more add is below the
noise, and a pool on disk is read row by row."""
DEFAULT_RESAMPLING_STEPS = 10
"""Of every level above level 1, which is not resampled unless asked: as in the paper's setting for images."""
DEFAULT_MAX_SHARE = 0.3
"""Share of the pool in one cluster above which a level has collapsed into it."""
DEFAULT_MAX_ITERATIONS = 50
DEFAULT_TOLERANCE = 1e-4
"""A fit stops when an iteration improves the inertia by less than this share."""


def default_resampling_steps(given: int | None, level: int) -> int:
    """Resampling steps of a level: as given, else 0 at level 1 and 10 above."""
    if given is not None:
        return given
    return DEFAULT_RESAMPLING_STEPS if level > 1 else 0
