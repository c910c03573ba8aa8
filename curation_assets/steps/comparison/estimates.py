"""Means with their noise, and which differences between them are clear."""

from __future__ import annotations

import math
from dataclasses import dataclass

_NORMAL_QUANTILE = 1.959964
"""Of 97.5 %: a difference is called clear in either direction by chance once in 40 times."""
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Estimate:
    """A measure of one way to draw a subset."""

    mean: float
    spread: float | None
    """Standard deviation from draw to draw; None for a single draw."""
    n_draws: int


@dataclass(frozen=True, slots=True)
class Difference:
    """How much a measure of one subset differs from another's, relative to the other's mean."""

    relative: float
    noise: float
    """Half of the 95 % interval."""

    @property
    def is_clear(self) -> bool:
        """Whether it is larger than its noise."""
        return abs(self.relative) > self.noise + _ROUNDING


def difference(one: Estimate, other: Estimate) -> Difference:
    """The difference of two means with its noise: Welch's t interval of 95 % (Welch 1947).

    A single draw gets the spread of the other subset. If that is a single one, too, nothing is clear.
    """
    spreads = [one.spread, other.spread]
    known = [spread for spread in spreads if spread is not None]
    if other.mean == 0:
        # Nothing is relative to it: no sample of the baseline has a label, or the subset is the whole pool.
        return Difference(0.0, 0.0)
    if not known:
        return Difference(one.mean / other.mean - 1, math.inf)
    relative = one.mean / other.mean - 1
    parts, freedom = [], 0.0
    for spread, estimate in zip(spreads, (one, other), strict=True):
        parts.append((known[0] if spread is None else spread) ** 2 / estimate.n_draws)
    error = math.sqrt(sum(parts))
    if error == 0:
        return Difference(relative, 0.0)
    lenders = [one if one.spread is not None else other, other if other.spread is not None else one]
    for part, lender in zip(parts, lenders, strict=True):
        freedom += (part / error**2) ** 2 / (lender.n_draws - 1)
    return Difference(relative, t_quantile(1 / freedom) * error / abs(other.mean))


def t_quantile(degrees: float) -> float:
    """The 97.5 % quantile of Student's t, by the expansion of Cornish and Fisher; 1 % too low at 3 degrees of freedom.

    It saves the import of scipy.
    """
    z = _NORMAL_QUANTILE
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / degrees + second / degrees**2 + third / degrees**3
