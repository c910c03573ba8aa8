"""The choice between fits that advance together and one fit after another: the only place that decides it."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch

from curation_assets.algorithms.kmeans.seeding import GREEDY_LIMIT, candidates_per_seed
from curation_assets.algorithms.search.codebook import MOST_CENTROIDS
from curation_assets.algorithms.search.kind import Kind, kind_of

# From this many multiplications a pass a fit fills a card by itself: twice as many operations take 1.5 ms at
# 400 TFLOP/s, about as long as the launches of a search of its own (1.6 ms on an H200).
_ALONE_WORK = 3 * 10**11


def which_together(
    sizes: np.ndarray,
    n_clusters: np.ndarray,
    dimension: int,
    *,
    n_local_trials: int | Literal["auto"],
    device: str,
) -> np.ndarray:
    """Which fits advance together.

    Fits go one after another where there are no kernels, and where fewer than two are small enough. A fit that fills a
    card goes by itself, and so does a long greedy search: its sums are chains of additions, for which a lane of a card
    takes longer than a CPU.

    Args:
        sizes: int64 (g,): rows of each fit.
        n_clusters: int64 (g,): clusters of each fit.
        dimension: of the rows.
        n_local_trials: see `kmeans_plus_plus`.
        device: torch device.

    Returns:
        bool (g,).
    """
    together = np.zeros(len(sizes), dtype=np.bool_)
    if kind_of(torch.device(device)) is not Kind.CUDA:
        return together
    for fit, (n, k) in enumerate(zip(sizes.tolist(), n_clusters.tolist(), strict=True)):
        work = n * k * dimension
        is_greedy = candidates_per_seed(n, k, dimension, n_local_trials) > 1
        together[fit] = work <= (GREEDY_LIMIT if is_greedy else _ALONE_WORK) and k <= MOST_CENTROIDS
    return together if together.sum() > 1 else np.zeros_like(together)
