"""What float32 sums may be off by.

Rounding errors of a dot product of length d stay below lambda * sqrt(d) * u with probability 1 - 2d exp(-lambda^2 / 2)
(Higham and Mary 2019), in whatever order it is summed up: lambda = 8 leaves 1e-11.
"""

from __future__ import annotations

import math

_ERROR_LAMBDA = 8.0
UNIT_ROUNDOFF = 2.0**-24


def product_error(n_terms: int) -> float:
    """What a float32 product of two vectors of so many values may be off by, for each unit of their lengths."""
    return _ERROR_LAMBDA * math.sqrt(n_terms + 2) * UNIT_ROUNDOFF
