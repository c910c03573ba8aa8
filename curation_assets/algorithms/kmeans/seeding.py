"""k-means++ seeds (Arthur and Vassilvitskii 2007), drawn in exact batches by rejection."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from curation_assets.algorithms.kmeans.inputs import FitInputs
from curation_assets.algorithms.kmeans.seed_distances import draw_by_mass
from curation_assets.algorithms.kmeans.seeding_loops import keep_best_candidate
from curation_assets.algorithms.kmeans.thinning import accepted
from curation_assets.algorithms.kmeans.tiles import TiledRows
from curation_assets.algorithms.rows import Rows

# Proposals of a round: at least the first; the second for each seed so far, and at most that for each missing one; at
# most the third. More would cost more in pairwise distances than a saved round.
FEWEST_PROPOSALS, PROPOSALS_PER_SEED, MOST_PROPOSALS = 256, 4, 4096
# Rows whose pairwise distances take 32 MB.
_MOST_ROWS_IN_PAIRS = 2000
# n * k * d up to which trying several candidates for each seed takes a second or so. Greedy seeds spread
# better where clusters are small: on the paper's 2-D study a KL of 0.037 against 0.047.
GREEDY_LIMIT = 10**8
SAME_POINT = 1e-13
"""Float64 rounding leaves a copy of a seed this far away, relative to its squared length."""


def kmeans_plus_plus(
    rows: Rows | TiledRows,
    n_clusters: int,
    rng: np.random.Generator,
    *,
    n_local_trials: int | Literal["auto"] = "auto",
    device: str = "cpu",
    on_progress: Callable[[int], None] | None = None,
) -> np.ndarray:
    """Choose rows as seeds, each with probability proportional to its squared distance to those before.

    Batched by rejection: with the distances known for the seeds so far, M rows are proposed at once, and one
    after the other is accepted with probability (distance now) / (distance when proposed). The accepted rows
    have exactly the distribution of one-at-a-time sampling, at the speed of a matrix product.

    Args:
        rows: prepared inputs.
        n_clusters: seeds to choose, at most the number of rows.
        rng: source of every random choice.
        n_local_trials: candidates tried for each seed; the one that lowers the inertia most is kept (greedy
            k-means++, sequential). 1 samples in batches; 'auto' is greedy with 2 + log k candidates where
            n * k * d is at most `GREEDY_LIMIT`.
        device: torch device.
        on_progress: called with the number of seeds chosen so far.

    Returns:
        int64 (n_clusters,): row numbers, all different. Where fewer rows than seeds are distinct, the rest
        are rows drawn evenly from those not chosen.

    Raises:
        ValueError: if n_clusters is not between 1 and the number of rows.
    """
    inputs = FitInputs.in_process(rows, "l2", device=device)
    return choose_seeds(inputs, n_clusters, rng, n_local_trials=n_local_trials, on_progress=on_progress).rows


@dataclass(frozen=True, slots=True)
class Seeds:
    """Seeds of a fit."""

    rows: np.ndarray
    """int64 (k,): row numbers."""
    points: np.ndarray
    """float32 (k, d): the rows themselves."""
    nearest_known: bool
    """Whether the workers know every row's nearest seed; not after a greedy search."""


def choose_seeds(
    inputs: FitInputs,
    n_clusters: int,
    rng: np.random.Generator,
    *,
    n_local_trials: int | Literal["auto"],
    on_progress: Callable[[int], None] | None = None,
) -> Seeds:
    """`kmeans_plus_plus` on the rows that the workers of a fit hold, weighted if the fit is.

    A greedy search brings all rows into this process.
    """
    n_rows = inputs.n_rows
    if not 1 <= n_clusters <= n_rows:
        raise ValueError(
            f"n_clusters is {n_clusters:,}, but there are {n_rows:,} rows to choose seeds from: use a value "
            f"from 1 to {n_rows:,}"
        )
    n_trials = candidates_per_seed(n_rows, n_clusters, inputs.dimension, n_local_trials)
    greedy = n_trials > 1
    search = _GreedySearch(inputs, n_clusters, n_trials) if greedy else _BatchedSearch(inputs, n_clusters)
    if inputs.weights is None:
        first = int(rng.integers(n_rows))
    else:
        cumulative = np.cumsum(inputs.weights)
        first = int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"))
    chosen = [first]
    search.begin(first)
    while len(chosen) < n_clusters and search.is_open:
        chosen.extend(search.more(len(chosen), n_clusters - len(chosen), rng))
        if on_progress:
            on_progress(len(chosen))
    rows = with_copies(np.array(chosen, dtype=np.int64), n_clusters, n_rows, rng)
    return Seeds(rows, inputs.take(rows), nearest_known=not greedy)


def candidates_per_seed(
    n_rows: int, n_clusters: int, dimension: int, n_local_trials: int | Literal["auto"]
) -> int:
    """Candidates that are tried for each seed; 1 where seeds are drawn in batches."""
    if n_local_trials != "auto":
        return n_local_trials
    # 2 + ln k candidates, as scikit-learn's greedy k-means++ takes.
    return 2 + int(math.log(n_clusters)) if n_rows * n_clusters * dimension <= GREEDY_LIMIT else 1


def with_copies(chosen: np.ndarray, n_clusters: int, n_rows: int, rng: np.random.Generator) -> np.ndarray:
    """Seeds int64 (n_clusters,): those chosen, int64 (c,), then rows drawn evenly from all others."""
    if len(chosen) == n_clusters:
        return chosen
    rest = np.setdiff1d(np.arange(n_rows), chosen)
    return np.concatenate([chosen, rng.choice(rest, n_clusters - len(chosen), replace=False)])


def proposals_of_round(n_seeds: int, room: int) -> int:
    """How many seeds to propose at once, after `n_seeds` so far, where `room` are missing."""
    # Measured: fewer rounds save more than rejections cost.
    wanted = PROPOSALS_PER_SEED * n_seeds
    return min(max(FEWEST_PROPOSALS, wanted), MOST_PROPOSALS, PROPOSALS_PER_SEED * room)


class _BatchedSearch:
    """Many proposals at once, thinned by rejection to the distribution of one-at-a-time sampling."""

    def __init__(self, inputs: FitInputs, n_clusters: int) -> None:
        self._inputs = inputs
        self._points = np.empty((n_clusters, inputs.dimension), dtype=np.float32)
        self._n_seeds = 0
        self._masses: list[np.ndarray] = []

    @property
    def is_open(self) -> bool:
        """Whether some row differs from all seeds."""
        return any(mass.any() for mass in self._masses)

    def begin(self, row: int) -> None:
        """Account for the first seed."""
        self._add(self._inputs.take(np.array([row])))

    def more(self, n_seeds: int, room: int, rng: np.random.Generator) -> list[int]:
        """Up to `room` more seeds, after the `n_seeds` so far."""
        shares = rng.random(proposals_of_round(n_seeds, room))
        rows, stale, points = self._inputs.draw(self._masses, shares)
        kept = accepted(torch.tensor(points), stale, rng, room, device=self._inputs.device)
        self._add(points[kept])
        return [int(row) for row in rows[kept]]

    def _add(self, points: np.ndarray) -> None:
        first, self._n_seeds = self._n_seeds, self._n_seeds + len(points)
        self._points[first : self._n_seeds] = points
        self._masses = self._inputs.add_seeds(points, self._points[: self._n_seeds])


class _GreedySearch:
    """Greedy choice of seeds on few rows; a float64 copy of them stays on the device."""

    def __init__(self, inputs: FitInputs, n_clusters: int, n_local_trials: int) -> None:
        n_rows = inputs.n_rows
        self._n_local_trials = n_local_trials
        self._points = inputs.gathered().take(np.arange(n_rows)).double()
        self._lengths = self._points.square().sum(dim=1)
        self._weights = np.ones(n_rows) if inputs.weights is None else inputs.weights
        self._squared = np.full(n_rows, np.inf)
        self._total = math.inf
        self._pairs: np.ndarray | None = None
        # All distances at once, where they are fewer than those to all candidates: each round then takes rows of that
        # matrix instead of computing a product.
        if len(self._points) <= min(n_clusters * n_local_trials, _MOST_ROWS_IN_PAIRS):
            self._pairs = _pairwise(self._points, self._points, self._lengths, self._lengths)

    @property
    def is_open(self) -> bool:
        """Whether some row differs from all seeds."""
        return self._total > 0

    def begin(self, row: int) -> None:
        """Account for the first seed."""
        self._add_best_of(np.array([row]))

    def more(self, n_seeds: int, room: int, rng: np.random.Generator) -> list[int]:
        """One more seed: of the rows drawn, the one that leaves the smallest total."""
        mass = self._squared * self._weights
        positions = rng.random(self._n_local_trials) * np.cumsum(mass)[-1]
        return [self._add_best_of(draw_by_mass(mass, positions))]

    def _add_best_of(self, candidates: np.ndarray) -> int:
        if self._pairs is not None:
            distances, places = self._pairs, candidates
        else:
            chosen = torch.from_numpy(candidates).to(self._points.device)
            distances = _pairwise(self._points[chosen], self._points, self._lengths[chosen], self._lengths)
            places = np.arange(len(candidates))
        row, self._total = keep_best_candidate(distances, places, candidates, self._weights, self._squared)
        return int(row)


def _pairwise(
    points: torch.Tensor, others: torch.Tensor, lengths: torch.Tensor, other_lengths: torch.Tensor
) -> np.ndarray:
    """Squared distances float64 (p, q); exactly 0 between copies of a row."""
    # |x - y|^2 = |x|^2 - 2 x.y + |y|^2; what cancels to rounding error is set to 0.
    squared = torch.addmm(other_lengths, points, others.T, alpha=-2).add_(lengths[:, None])
    return squared.masked_fill_(squared <= SAME_POINT * lengths[:, None], 0.0).cpu().numpy()
