"""Coarse clusters: where near duplicates are looked for, in a row's own cluster and its nearest neighbours."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from curation_assets.algorithms.kmeans.fit import fit_kmeans
from curation_assets.algorithms.neighbours.exact import most_similar
from curation_assets.algorithms.preprocessing import GRID_BITS
from curation_assets.algorithms.rows import ArrayRows, as_tensor
from curation_assets.algorithms.search.pairs import squared_distances

MEAN_CLUSTER_ROWS = 1000
"""Below a million rows; above, the square root balances the search for clusters with that inside them."""
SAMPLE_PER_CLUSTER = 128
VISITED_CLUSTERS = 4
_MAX_ITERATIONS = 10


def n_coarse_clusters(n_rows: int) -> int:
    """Number of coarse clusters: of about 1,000 rows each, and at most the square root of the rows."""
    return max(1, round(n_rows / max(MEAN_CLUSTER_ROWS, math.sqrt(n_rows))))


def fit_coarse_clusters(
    sample: np.ndarray, n_clusters: int, *, rng: np.random.Generator, device: str = "cpu"
) -> np.ndarray:
    """Spherical k-means on a sample; its centroids are rounded to the grid of prepared rows.

    Args:
        sample: float32 (m, d), prepared for cosines.
        n_clusters: k, lowered to m where that is less.
        rng: source of the seeds.
        device: torch device.

    Returns:
        float32 (k, d).
    """
    fit = fit_kmeans(
        ArrayRows(sample),
        min(n_clusters, len(sample)),
        metric="cosine",
        rng=rng,
        max_iterations=_MAX_ITERATIONS,
        tolerance=1e-3,
        device=device,
    )
    step = np.float32(2.0**-GRID_BITS)
    return np.asarray(np.rint(fit.centroids / step) * step, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Visits:
    """The coarse clusters in which rows are compared."""

    clusters: np.ndarray
    """int32 (n, v): its own first, then neighbours, then -1."""
    similarities: np.ndarray
    """float64 (n,): exact cosine to the own centroid."""


def visit_clusters(
    block: np.ndarray,
    centroids: np.ndarray,
    *,
    threshold: float,
    most: int = VISITED_CLUSTERS,
    device: str = "cpu",
) -> Visits:
    """A row's own cluster, and the next nearest ones where near duplicates of it may lie.

    The border between two clusters is the plane of equal cosines. Two rows on either side of it that lie within
    the threshold's angle cannot both be further from it than half that angle: so a row visits the clusters
    across borders that are no further, and the pair meets where one of them is at home. Only the `most` nearest
    clusters are visited; what that misses was measured (docs/deduplication.md).

    Cosines are exact, and of equal ones the lowest cluster counts: chunks, threads and the device change nothing.

    Args:
        block: float32 (n, d), prepared.
        centroids: float32 (k, d) on the grid.
        threshold: cosine of near duplicates.
        most: clusters of a row, its own among them.
        device: torch device.

    Returns:
        The visits, v = most. Peak memory: a few candidates for each row.
    """
    most_here = min(most, len(centroids))
    rows, book = as_tensor(block, device), as_tensor(centroids, device)
    nearest, best = most_similar(rows, book, most_here)
    # Half the angle of two unit rows at the threshold, as a distance from the plane between them: sin(acos(t) / 2).
    reach = math.sin(math.acos(min(1.0, threshold)) / 2)
    own = nearest[:, 0].repeat_interleave(most_here)
    apart = squared_distances(book, own, book, nearest.flatten()).sqrt().reshape(nearest.shape)
    # Distance of x from the border of c and c': (x.c - x.c') / |c - c'|, to be at most `reach`.
    # Rows of two equal centroids have no border: they visit both.
    across = best[:, :1] - best <= reach * apart
    clusters = np.full((len(block), most), -1, dtype=np.int32)
    clusters[:, :most_here] = torch.where(across, nearest, -1).cpu().numpy()
    return Visits(clusters, best[:, 0].cpu().numpy().copy())
