"""What one k-means costs: distance computations and passes over the rows, of its seeds and of Lloyd's iterations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from curation_assets.algorithms.kmeans.seeding import (
    FEWEST_PROPOSALS,
    MOST_PROPOSALS,
    PROPOSALS_PER_SEED,
    candidates_per_seed,
)

# Share of the proposals that is accepted in the first round and later (measured: 0.4 to 0.6, and 0.65 to 0.9).
_ACCEPTED_AT_FIRST, _ACCEPTED_SHARE = 0.5, 0.8
# Iterations until the inertia falls by less than 1e-4, and the share of the centroids that an iteration compares with
# (those that moved): powers of the rows per cluster. Measured on two kinds of generated pools of 384 dimensions with
# 10 to 500 rows per cluster (benchmarks/cost_model.py --study): pools differ by a factor of 2 around them.
_ITERATIONS_FACTOR, _ITERATIONS_POWER = 4.0, 0.27
_MOVED_FACTOR, _MOVED_POWER = 0.16, 0.26
# Passes that only read: for the lengths of rows before the seeds, first sums, and distances at the end.
_SEED_READS, _LLOYD_READS = 1, 2


@dataclass(frozen=True, slots=True)
class FitCost:
    """Work of a part of a fit; two of them add up."""

    distances: int = 0
    """Distances computed, each 2 d floating-point operations."""
    passes: int = 0
    """Times that every row is compared with some centroids."""
    reads: int = 0
    """Times that every row is read from disk, where rows are not held in memory."""
    steps: int = 0
    """Seeds that are chosen one after another, by the greedy search of small fits."""
    proposals: int = 0
    """Proposals of seeds, by the batched search of larger fits."""
    small_products: int = 0
    """Coarse clusters that chunks of rows meet, each searched by a small product of its own."""

    def __add__(self, other: FitCost) -> FitCost:
        return FitCost(
            self.distances + other.distances,
            self.passes + other.passes,
            self.reads + other.reads,
            self.steps + other.steps,
            self.proposals + other.proposals,
            self.small_products + other.small_products,
        )


def seeding_cost(
    n_rows: int, n_clusters: int, dimension: int, *, n_local_trials: int | Literal["auto"] = "auto"
) -> FitCost:
    """Cost of `seeding.choose_seeds`.

    Every row is compared with every seed once; the batched search adds the pairs among the proposals of each round,
    the greedy search of small fits compares with every candidate.

    Args:
        n_rows: rows of the fit.
        n_clusters: seeds.
        dimension: length of a row.
        n_local_trials: see `seeding.kmeans_plus_plus`.
    """
    n_trials = candidates_per_seed(n_rows, n_clusters, dimension, n_local_trials)
    if n_trials > 1:
        return FitCost(n_rows * (1 + n_trials * (n_clusters - 1)), 1, 1 + _SEED_READS, steps=n_clusters - 1)
    chosen, rounds, pairs, n_proposals = 1, 1, 0, 0
    while chosen < n_clusters:
        room, share = n_clusters - chosen, _ACCEPTED_AT_FIRST if chosen == 1 else _ACCEPTED_SHARE
        most = min(MOST_PROPOSALS, PROPOSALS_PER_SEED * room)
        proposals = min(max(FEWEST_PROPOSALS, PROPOSALS_PER_SEED * chosen), most)
        accepted = min(room, math.ceil(share * proposals))
        # Each proposal up to the last seed is compared with those kept before it, half of them on average.
        pairs += math.ceil(accepted / share) * accepted // 2
        chosen, rounds, n_proposals = chosen + accepted, rounds + 1, n_proposals + proposals
    return FitCost(n_rows * n_clusters + pairs, rounds, rounds + _SEED_READS, proposals=n_proposals)


def lloyd_iterations(n_rows: int, n_clusters: int, max_iterations: int) -> int:
    """Iterations that a fit is expected to take at the default tolerance, at most `max_iterations`."""
    return min(max_iterations, math.ceil(_ITERATIONS_FACTOR * (n_rows / n_clusters) ** _ITERATIONS_POWER))


def moved_share(n_rows: int, n_clusters: int) -> float:
    """Share of the centroids that an iteration is expected to compare the rows with, above 0 and at most 1."""
    return min(1.0, _MOVED_FACTOR * (n_rows / n_clusters) ** _MOVED_POWER)


def lloyd_cost(n_rows: int, n_clusters: int, max_iterations: int, *, at_most: bool = False) -> FitCost:
    """Cost of `lloyd.Lloyd`'s iterations after seeding, which leaves the first assignment behind.

    Args:
        n_rows: rows of the fit.
        n_clusters: k.
        max_iterations: of the level.
        at_most: every iteration up to max_iterations is run, and compares every row with every centroid.
    """
    if at_most:
        return FitCost(max_iterations * n_rows * n_clusters, max_iterations, max_iterations + _LLOYD_READS)
    iterations = lloyd_iterations(n_rows, n_clusters, max_iterations)
    # The first iteration compares with all centroids.
    shares = max(1.0, iterations * moved_share(n_rows, n_clusters))
    return FitCost(round(shares * n_rows * n_clusters), iterations, iterations + _LLOYD_READS)


def inside_assignment_cost(
    n_rows: int, n_coarse_clusters: int, per_coarse_cluster: int, dimension: int, *, chunk_bytes: int
) -> FitCost:
    """Cost of assigning rows to a split level: the nearest coarse cluster, then the nearest inside it.

    Args:
        n_rows: rows to assign.
        n_coarse_clusters: coarse clusters.
        per_coarse_cluster: sub-clusters of each.
        dimension: length of a row.
        chunk_bytes: of a chunk of float32 rows, see `rows.read_chunks`.
    """
    chunk_rows = min(n_rows, max(1, chunk_bytes // (4 * dimension)))
    n_chunks = -(-n_rows // chunk_rows)
    # Coarse clusters that a chunk meets, if its rows fall into them at random: c (1 - exp(-rows / c)).
    met = n_coarse_clusters * -math.expm1(-chunk_rows / n_coarse_clusters)
    return FitCost(
        n_rows * (n_coarse_clusters + per_coarse_cluster), 1, 1, small_products=math.ceil(n_chunks * met)
    )
