"""k-means++ seeds (Arthur and Vassilvitskii 2007), drawn in exact batches by rejection."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from curation_assets.algorithms.assignment import (
    Codebook,
    nearest,
    resolve,
    squared_distances,
    tile_rows,
    top_two,
)
from curation_assets.algorithms.rounded_scores import RoundedCentroids
from curation_assets.algorithms.rows import Rows
from curation_assets.algorithms.tiles import TiledRows

# More proposals a round would cost more in their pairwise distances than the round saves.
_MOST_PROPOSALS = 4096
_ACCEPT_BLOCK = 256
# n * k * d up to which trying several candidates for each seed takes a second or so. Greedy seeds spread
# better where clusters are small: on the paper's 2-D study a KL of 0.037 against 0.047.
GREEDY_LIMIT = 10**8
# Float64 rounding leaves a copy of a seed this far away, relative to its squared length.
_SAME_POINT = 1e-13


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
        n_local_trials: candidates tried for each seed, of which the one that lowers the inertia most is kept
            (greedy k-means++, sequential); 1 samples in batches; 'auto' is greedy with 2 + log k candidates
            where n * k * d is at most `GREEDY_LIMIT`.
        device: torch device.
        on_progress: called with the number of seeds chosen so far.

    Returns:
        int64 (n_clusters,): row numbers, all different. Where fewer rows than seeds are distinct, the rest
        are rows drawn evenly from those not chosen.

    Raises:
        ValueError: if n_clusters is not between 1 and the number of rows.
    """
    tiled = rows if isinstance(rows, TiledRows) else TiledRows(rows, device)
    return choose_seeds(tiled, n_clusters, rng, n_local_trials=n_local_trials, on_progress=on_progress).rows


@dataclass(frozen=True, slots=True)
class Seeds:
    """Seeds, and where every row stands among them."""

    rows: np.ndarray
    """int64 (k,): row numbers."""
    nearest: np.ndarray | None
    """int64 (n,): position in `rows` of each row's exact nearest seed; None after a greedy search."""


def choose_seeds(
    tiled: TiledRows,
    n_clusters: int,
    rng: np.random.Generator,
    *,
    n_local_trials: int | Literal["auto"],
    weights: np.ndarray | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Seeds:
    """`kmeans_plus_plus` on weighted rows, keeping what the search found out about them.

    Args:
        tiled: prepared inputs.
        n_clusters: see `kmeans_plus_plus`.
        rng: see `kmeans_plus_plus`.
        n_local_trials: see `kmeans_plus_plus`.
        weights: float64 (n,): a row counts as so many copies of it; None counts each once.
        on_progress: see `kmeans_plus_plus`.

    Raises:
        ValueError: see `kmeans_plus_plus`.
    """
    n_rows = tiled.rows.n_rows
    if not 1 <= n_clusters <= n_rows:
        raise ValueError(
            f"n_clusters is {n_clusters:,}, but there are {n_rows:,} rows to choose seeds from: use a value "
            f"from 1 to {n_rows:,}"
        )
    if n_local_trials == "auto":
        small = n_rows * n_clusters * tiled.rows.dimension <= GREEDY_LIMIT
        n_local_trials = 2 + int(math.log(n_clusters)) if small else 1
    nearest_seed = _SeedDistances(tiled, weights)
    greedy = _GreedySearch(tiled, nearest_seed) if n_local_trials > 1 else None
    chosen = [int(rng.integers(n_rows)) if weights is None else _weighted_choice(weights, rng)]
    nearest_seed.add(np.array(chosen))
    while len(chosen) < n_clusters and nearest_seed.total > 0:
        room = n_clusters - len(chosen)
        if greedy:
            new = greedy.add_best_of(nearest_seed.propose(n_local_trials, rng))
        else:
            # Twice as many as there are seeds: measured, fewer rounds save more than rejections cost.
            n_proposals = min(max(8, 2 * len(chosen)), _MOST_PROPOSALS, 2 * room)
            proposed = nearest_seed.propose(n_proposals, rng)
            new = _accepted(tiled, proposed, nearest_seed.squared[proposed], rng)[:room]
            nearest_seed.add(new)
        chosen.extend(new.tolist())
        if on_progress:
            on_progress(len(chosen))
    if len(chosen) < n_clusters:
        rest = np.setdiff1d(np.arange(n_rows), chosen)
        chosen.extend(rng.choice(rest, n_clusters - len(chosen), replace=False).tolist())
    return Seeds(np.array(chosen, dtype=np.int64), None if greedy else nearest_seed.nearest)


class _SeedDistances:
    """Nearest seed of every row and the squared distance to it, updated in place."""

    def __init__(self, tiled: TiledRows, weights: np.ndarray | None) -> None:
        self._tiled = tiled
        self.weights = weights
        self._n_seeds = 0
        self.nearest = np.zeros(tiled.rows.n_rows, dtype=np.int64)
        self.squared = np.full(tiled.rows.n_rows, np.inf)
        self.total = math.inf

    def propose(self, n_proposals: int, rng: np.random.Generator) -> np.ndarray:
        """Rows drawn independently with probability proportional to their squared distance."""
        mass = self.squared if self.weights is None else self.squared * self.weights
        cumulative = np.cumsum(mass)
        drawn = np.searchsorted(cumulative, rng.random(n_proposals) * cumulative[-1], side="right")
        if drawn.max() == len(cumulative) or not self.squared[drawn].all():
            # Rounding at the very end of the cumulative sum: the last row that can be drawn.
            drawn = np.minimum(drawn, np.flatnonzero(self.squared)[-1])
        return drawn

    def add(self, seeds: np.ndarray) -> None:
        """Account for new seeds."""
        book = Codebook.of(self._tiled.take(seeds))
        # Before the first seed every row is infinitely far: there is nothing to rule out.
        rounded = (
            RoundedCentroids.if_worthwhile(book.centroids, book.bias, book.largest_norm)
            if self._n_seeds
            else None
        )
        residuals = None if rounded is None else self._tiled.residuals()
        norms = self._tiled.norms()
        for start, block in self._tiled.tiles(rounded.tile_rows() if rounded else tile_rows(len(seeds))):
            tile = slice(start, start + len(block))
            known = torch.from_numpy(self.squared[tile]).to(block.device)
            first_look = None if rounded is None or residuals is None else (rounded, residuals[tile])
            improved, column, squared = _nearer(block, norms[tile], book, known, first_look)
            rows = start + improved.cpu().numpy()
            self.squared[rows] = squared.cpu().numpy()
            self.nearest[rows] = self._n_seeds + column.cpu().numpy()
        self._n_seeds += len(seeds)
        self.total = float(self.squared.sum())


class _GreedySearch:
    """Greedy choice of seeds on few rows: a float64 copy of them stays on the device."""

    def __init__(self, tiled: TiledRows, nearest_seed: _SeedDistances) -> None:
        self._nearest_seed = nearest_seed
        self._columns = tiled.take(np.arange(tiled.rows.n_rows)).double().T.contiguous()
        self._lengths = self._columns.square().sum(dim=0)
        weights = nearest_seed.weights
        self._weights = None if weights is None else torch.from_numpy(weights).to(self._columns.device)

    def add_best_of(self, candidates: np.ndarray) -> np.ndarray:
        """Account for the candidate that leaves the smallest total; returns it as an array of one."""
        chosen = torch.from_numpy(candidates).to(self._columns.device)
        known = torch.from_numpy(self._nearest_seed.squared).to(self._columns.device)
        points = self._columns[:, chosen].T
        squared = torch.addmm(self._lengths, points, self._columns, alpha=-2)
        squared += self._lengths[chosen, None]
        squared.masked_fill_(squared <= _SAME_POINT * self._lengths, 0.0)
        torch.minimum(squared, known, out=squared)
        totals = squared.sum(dim=1) if self._weights is None else squared @ self._weights
        winner = int(totals.argmin())
        self._nearest_seed.squared[:] = squared[winner].cpu().numpy()
        self._nearest_seed.squared[candidates[winner]] = 0.0
        self._nearest_seed.total = float(totals[winner])
        return candidates[winner : winner + 1]


def _weighted_choice(weights: np.ndarray, rng: np.random.Generator) -> int:
    cumulative = np.cumsum(weights)
    return int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"))


def _nearer(
    block: torch.Tensor,
    norms: torch.Tensor,
    book: Codebook,
    known: torch.Tensor,
    first_look: tuple[RoundedCentroids, torch.Tensor] | None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rows of a tile that have a new seed nearer than `known`, the seed, and the float64 squared distance."""
    bound = book.error_bound(norms)
    lengths = norms.double().square()
    # |x - c|^2 = |x|^2 - 2 score: below this score no new seed can be nearer than the known one. The slack
    # covers the rounding of the lengths themselves.
    at_least = (0.5 * (lengths * (1 - 1e-5) - known)).float() - bound
    if first_look is not None:
        return _nearer_rounded(block, norms, book, known, at_least, bound, *first_look)
    best, column, second = top_two(block, book.centroids, book.bias, at_least)
    hopeful = torch.nonzero(best >= at_least).flatten()
    block, column, bound = block.index_select(0, hopeful), column[hopeful], bound[hopeful]
    best, second = best[hopeful], second[hopeful]
    unsure = torch.nonzero(best - second <= 2 * bound).flatten()
    if len(unsure):
        column[unsure] = resolve(block[unsure], book, best[unsure] - 2 * bound[unsure])
    squared = squared_distances(block, None, book.centroids, column)
    improved = squared < known[hopeful]
    return hopeful[improved], column[improved], squared[improved]


def _nearer_rounded(
    block: torch.Tensor,
    norms: torch.Tensor,
    book: Codebook,
    known: torch.Tensor,
    at_least: torch.Tensor,
    bound: torch.Tensor,
    rounded: RoundedCentroids,
    residuals: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """`_nearer`, where float32 compares only rows for which bfloat16 leaves the nearest new seed open."""
    column, of_best, of_others = rounded.leaders(
        block, norms, residuals, at_least, bound, floor=torch.zeros_like(at_least)
    )
    hopeful = torch.nonzero(of_best >= 0).flatten()
    block, column, norms, bound = (
        block.index_select(0, hopeful), column[hopeful], norms[hopeful], bound[hopeful]
    )  # fmt: skip
    squared = squared_distances(block, None, book.centroids, column)
    score = (0.5 * (norms.double().square() * (1 - 1e-5) - squared)).float() - 2 * bound
    unsure = torch.nonzero(at_least[hopeful] + of_others[hopeful] >= score).flatten()
    if len(unsure):
        open_rows = block.index_select(0, unsure)
        column[unsure] = nearest(open_rows, norms[unsure], book)[0]
        squared[unsure] = squared_distances(open_rows, None, book.centroids, column[unsure])
    improved = squared < known[hopeful]
    return hopeful[improved], column[improved], squared[improved]


def _accepted(
    tiled: TiledRows, proposed: np.ndarray, stale: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """The proposals that sequential sampling would have kept, in order."""
    points = tiled.take(proposed).double()
    lengths = points.square().sum(dim=1)
    draws = rng.random(len(proposed)) * stale
    kept: list[int] = []
    # Block by block, against those kept so far: rejected proposals need no distances to later ones.
    for start in range(0, len(proposed), _ACCEPT_BLOCK):
        block = slice(start, start + _ACCEPT_BLOCK)
        current = stale[block].copy()
        if kept:
            to_kept = _pairwise(points[block], lengths[block], points[kept], lengths[kept])
            np.minimum(current, to_kept.min(axis=1), out=current)
        inside = _pairwise(points[block], lengths[block], points[block], lengths[block])
        for candidate in range(len(current)):
            if draws[start + candidate] < current[candidate]:
                kept.append(start + candidate)
                np.minimum(current, inside[candidate], out=current)
    return proposed[kept]


def _pairwise(
    points: torch.Tensor, lengths: torch.Tensor, others: torch.Tensor, other_lengths: torch.Tensor
) -> np.ndarray:
    """Squared distances float64 (p, q); exactly 0 between copies of a row."""
    squared = torch.addmm(other_lengths, points, others.T, alpha=-2).add_(lengths[:, None])
    return squared.masked_fill_(squared <= _SAME_POINT * lengths[:, None], 0.0).cpu().numpy()
