"""How balanced a set of samples is: over clusters, over labels, over the plane of the paper's 2-D study."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Balance:
    """Balance of one partition of samples into clusters or labels."""

    effective_number: float
    largest_share: float
    gini: float
    n_empty: int


def effective_number(counts: np.ndarray) -> float:
    """Exp of the Shannon entropy: the number of equally large groups that are as diverse (Hill number of order 1).

    Args:
        counts: non-negative (k,): samples of each group.

    Returns:
        From 1 (all in one group) to k (even); 0 without samples.

    Raises:
        ValueError: if a count is negative or not finite.
    """
    counts = np.asarray(counts, dtype=np.float64).ravel()
    if not np.isfinite(counts).all() or (counts < 0).any():
        raise ValueError("counts must be finite and not negative: pass the number of samples of each group")
    total = counts.sum()
    if total == 0:
        return 0.0
    shares = counts[counts > 0] / total
    return float(np.exp(-(shares * np.log(shares)).sum()))


def gini(counts: np.ndarray) -> float:
    """Gini coefficient of group sizes, non-negative (k,): 0 if all are equal, near 1 if one group holds everything."""
    counts = np.sort(np.asarray(counts, dtype=np.float64))
    total = counts.sum()
    if total == 0:
        return 0.0
    # G = 2 sum(i x_i) / (n sum x) - (n + 1) / n, with x ascending and i from 1.
    ranks = np.arange(1, len(counts) + 1)
    return float(2 * (ranks * counts).sum() / (len(counts) * total) - (len(counts) + 1) / len(counts))


def balance_of(counts: np.ndarray) -> Balance:
    """All figures of one partition, from the samples of each group, int (k,)."""
    counts = np.asarray(counts)
    total = counts.sum()
    largest = float(counts.max() / total) if total else 0.0
    return Balance(effective_number(counts), largest, gini(counts), int((counts == 0).sum()))


def has_collapsed(counts: np.ndarray, max_share: float) -> bool:
    """Whether one of k groups holds most of all samples, int (k,): more than `allowed_share`."""
    return balance_of(counts).largest_share > allowed_share(len(counts), max_share)


def allowed_share(n_groups: int, max_share: float) -> float:
    """The largest share of all samples that one of some groups may hold before they have collapsed.

    That is `max_share`; with few groups 1.5 times an equal share, if that is larger. A single group cannot collapse.
    """
    return min(1.0, max(max_share, 1.5 / max(1, n_groups)))


def kl_to_uniform(
    points: np.ndarray,
    *,
    low: float = -3.0,
    high: float = 3.0,
    bandwidth: float = 0.5,
    grid_step: float = 0.02,
) -> float:
    """KL divergence of a Gaussian kernel density estimate from the uniform density on a square.

    The measure of the paper's 2-D study (section 4.1): the density is renormalised on the grid.

    Args:
        points: float (n, 2).
        low: lower bound of both axes.
        high: upper bound of both axes.
        bandwidth: standard deviation of the kernel.
        grid_step: distance of grid points.

    Returns:
        KL in nats, 0 for a perfectly even density.
    """
    axis = np.linspace(low, high, round((high - low) / grid_step) + 1)
    kernel = [np.exp(-0.5 * ((axis[:, None] - points[:, i]) / bandwidth) ** 2) for i in (0, 1)]
    density = kernel[0] @ kernel[1].T
    density /= density.sum()
    filled = density[density > 0]
    return float((filled * np.log(filled * density.size)).sum())
