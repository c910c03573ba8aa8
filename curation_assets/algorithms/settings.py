"""Settings of the method that pools offer under the same names. Imports nothing, so that reading a pool stays fast."""

from typing import Literal

Metric = Literal["cosine", "l2"]
Strategy = Literal["closest", "random"]
"""Which rows of a cluster are kept or drawn."""
DEFAULT_MEMORY_BUDGET = 4 * 10**9
"""Bytes of a process that fits."""
