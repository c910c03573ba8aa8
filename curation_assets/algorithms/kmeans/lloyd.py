"""Lloyd's iterations on one worker's rows: exact assignments that search only what can have changed.

Each row keeps the score of its own centroid and a rival score that no other centroid exceeds. A centroid that did not
move cannot exceed the rival score later. So only centroids that moved are searched, and only rows for which one of
them may be nearer than their own are compared with all centroids.
"""

from __future__ import annotations

import functools
import math
import threading
from dataclasses import replace

import numpy as np
import torch

from curation_assets.algorithms.kmeans.centroid_sums import SumDelta
from curation_assets.algorithms.kmeans.tiles import TiledRows
from curation_assets.algorithms.search.base import Found, NearestCentroids
from curation_assets.algorithms.search.codebook import Codebook
from curation_assets.algorithms.search.cuda.compact import Block
from curation_assets.algorithms.search.pairs import (
    add_rows,
    moved_centroids,
    reported_distance,
    squared_distances,
    squared_lengths,
    tile_rows,
)
from curation_assets.algorithms.settings import Metric

# Where more than this share of the centroids moved, one full search is cheaper than a partial one.
_FULL_SEARCH_SHARE = 0.8


class Lloyd:
    """Assignments of some rows of a fit, and what they add to the sums of its clusters.

    Args:
        tiled: prepared rows.
        centroids: float32 (k, d) to start from.
        clusters: int64 (n,): the rows' nearest of them, if known.
        weights: float64 (n,): how many times each row counts; None counts each once.
    """

    def __init__(
        self,
        tiled: TiledRows,
        centroids: torch.Tensor,
        clusters: torch.Tensor | None = None,
        weights: np.ndarray | None = None,
    ) -> None:
        (k, dimension), device = centroids.shape, centroids.device
        n_rows = tiled.rows.n_rows
        self._tiled = tiled
        self.book = Codebook.of(centroids)
        self._gained = torch.zeros(k, dimension, dtype=torch.float64, device=device)
        self._counts_gained = torch.zeros(k, dtype=torch.float64, device=device)
        self._dirty = torch.zeros(k, dtype=torch.bool, device=device)
        self._sums_lock = threading.Lock()
        self._moved = torch.ones(k, dtype=torch.bool, device=device)
        self._norms = tiled.norms()
        self._weights = None if weights is None else torch.tensor(weights, device=device)
        self._clusters = torch.zeros(n_rows, dtype=torch.int64, device=device)
        self._own = torch.zeros(n_rows, dtype=torch.float32, device=device)
        self._rivals = torch.zeros(n_rows, dtype=torch.float32, device=device)
        self._is_searched = False
        self._is_assigned = clusters is not None
        if clusters is not None:
            self._clusters[:] = clusters
        else:
            self._reassign()
            self._is_assigned = True

    def all_rows(self) -> tuple[SumDelta, np.ndarray]:
        """What all rows together add to the sums, and the squared length of each times its weight, float64 (n,)."""
        squared = self._gained.new_empty(len(self._clusters))
        for start, block in self._tiled.tiles(tile_rows(squared.device)):
            tile = slice(start, start + len(block))
            mass = self._mass(tile, len(block))
            squared[tile] = squared_lengths(block).mul_(mass)
            self._add(block, None, self._clusters[tile], mass)
        self._dirty = self._counts_gained > 0
        return self._take_delta(), squared.cpu().numpy()

    def step(self, centroids: torch.Tensor) -> tuple[SumDelta, int]:
        """Find every row's nearest centroid again, after the centroids, float32 (k, d), have moved.

        OUT: how the sums change, and how many rows changed cluster.
        """
        self._moved = moved_centroids(self.book.centroids, centroids)
        self.book = Codebook.of(centroids)
        n_reassigned = self._reassign()
        return self._take_delta(), n_reassigned

    def _take_delta(self) -> SumDelta:
        clusters = torch.nonzero(self._dirty).flatten()
        delta = SumDelta(
            clusters.cpu().numpy(),
            self._gained.index_select(0, clusters).cpu().numpy(),
            self._counts_gained[clusters].cpu().numpy(),
        )
        self._gained.index_fill_(0, clusters, 0.0)
        self._counts_gained.index_fill_(0, clusters, 0.0)
        self._dirty.zero_()
        return delta

    def _mass(self, rows: slice | torch.Tensor, n: int) -> torch.Tensor:
        return self._counts_gained.new_ones(n) if self._weights is None else self._weights[rows]

    def _reassign(self) -> int:
        moved = torch.nonzero(self._moved).flatten()
        if self._is_searched and not len(moved):
            return 0
        if not self._is_searched or len(moved) > _FULL_SEARCH_SHARE * len(self._moved):
            moved = torch.arange(len(self._moved), device=moved.device)
            # All centroids are searched: no earlier rival counts.
            self._rivals.fill_(-math.inf)
        search = _Search(self._tiled, self.book, moved)

        def reassign(start: int, block: Block) -> int:
            return self._reassign_tile(search, slice(start, start + len(block)), block)

        n_reassigned = sum(self._tiled.each_tile(reassign, search.among_moved.tile_rows()))
        self._is_searched = True
        return n_reassigned

    def _reassign_tile(self, search: _Search, tile: slice, block: Block) -> int:
        before = self._clusters[tile].clone()
        self._refresh_own_scores(tile, block, before)
        self._search_moved(search, tile, block, before)
        after = self._clusters[tile]
        changed = torch.nonzero(after != before).flatten()
        # Rows that had no cluster are not in the sums yet: `all_rows` adds them up.
        if len(changed) and self._is_assigned:
            mass = self._mass(tile.start + changed, len(changed))
            # Tiles share the sums.
            with self._sums_lock:
                self._add(block, changed, before[changed], -mass)
                self._add(block, changed, after[changed], mass)
                self._dirty.index_fill_(0, before[changed], True)
                self._dirty.index_fill_(0, after[changed], True)
        return len(changed)

    def _refresh_own_scores(self, tile: slice, block: Block, clusters: torch.Tensor) -> None:
        """Score each row against its own centroid again, where that moved."""
        if not self._is_searched:
            self._own[tile] = self.book.scores_of(block, clusters)
            return
        rows = torch.nonzero(self._moved[clusters]).flatten()
        if len(rows):
            self._own[tile.start + rows] = self.book.scores_of(block, clusters[rows], rows)

    def _search_moved(self, search: _Search, tile: slice, block: Block, clusters: torch.Tensor) -> None:
        """Search for a tile among the centroids that moved, and among all where that leaves it open."""
        own, norms = self._own[tile], self._norms[tile]
        # Two scores, each off by no more than the bound: only a gap beyond twice the bound tells which is higher.
        slack = 2 * self.book.error_bound(norms)
        rows = self._tiled.searched(search.among_moved, tile, block, norms)
        # A centroid that scores less than own - slack is farther than the row's own for certain.
        known = replace(rows, at_least=own - slack, own=own, left_out=search.position[clusters])
        open_rows = self._settle(search, tile, search.among_moved.leading(known, runner_up=True), slack)
        for some, mine in self._tiled.gathered(block, open_rows):
            numbers = tile.start + some
            rows = self._tiled.searched(search.among_all, numbers, mine, norms[some])
            found = search.among_all.best_two(replace(rows, at_least=(own - slack)[some]))
            self._clusters[numbers], self._own[numbers] = found.column, found.score
            self._rivals[numbers] = found.others

    def _settle(self, search: _Search, tile: slice, found: Found, slack: torch.Tensor) -> torch.Tensor:
        """Give rows to the better of their own centroid and the best that moved, if all others are clearly beaten.

        A centroid that did not move still scores at most the row's rival score. So with
        winner = max(own, score) and beaten = max(min(own, score), rival, others) the winner is the nearest of all
        centroids if beaten < winner - slack, and `beaten` is the row's new rival.

        Args:
            search: for the numbers of the centroids.
            tile: the rows.
            found: among the centroids that moved, without the rows' own.
            slack: float32 (b,): scores as far apart as that may be in either order.

        Returns:
            int64 (r,): rows of the tile that stay open.
        """
        own, rivals, clusters = self._own[tile], self._rivals[tile], self._clusters[tile]
        winner = torch.maximum(own, found.score)
        beaten = torch.maximum(torch.minimum(own, found.score), torch.maximum(rivals, found.others))
        clear = beaten < winner - slack
        wins = clear & (found.score > own)
        # Not by masks: a device would have to say how many rows they name.
        clusters.copy_(torch.where(wins, search.numbers[found.column], clusters))
        rivals.copy_(torch.where(clear, beaten, rivals))
        own.copy_(torch.where(clear, winner, own))
        return torch.nonzero(~clear).flatten()

    def _add(
        self, block: Block, rows: torch.Tensor | None, clusters: torch.Tensor, mass: torch.Tensor
    ) -> None:
        """Add rows of a block, each times its mass, to the sums of clusters."""
        add_rows(block, rows, clusters, mass, self._gained)
        self._counts_gained.index_add_(0, clusters, mass)

    def result(self, metric: Metric) -> tuple[np.ndarray, np.ndarray]:
        """Assignments int64 (n,) and distances float32 (n,) as the metric reports them."""
        distances = torch.empty_like(self._own)

        def measure(start: int, block: Block) -> None:
            tile = slice(start, start + len(block))
            squared = squared_distances(block, None, self.book.centroids, self._clusters[tile])
            distances[tile] = reported_distance(squared, metric)

        self._tiled.each_tile(measure, tile_rows(distances.device))
        return self._clusters.cpu().numpy(), distances.cpu().numpy()


class _Search:
    """The searches of one pass over the rows.

    Args:
        tiled: the rows.
        book: all centroids.
        numbers: int64 (m,): those that moved, ascending.
    """

    def __init__(self, tiled: TiledRows, book: Codebook, numbers: torch.Tensor) -> None:
        self._tiled, self._book, self.numbers = tiled, book, numbers
        self._are_all = len(numbers) == len(book)
        self.among_moved = tiled.search_among(book if self._are_all else book[numbers])
        self.position = torch.full((len(book),), -1, dtype=torch.int64, device=numbers.device)
        """int64 (k,): place of each centroid among those that moved, or -1."""
        self.position[numbers] = torch.arange(len(numbers), device=numbers.device)

    @functools.cached_property
    def among_all(self) -> NearestCentroids:
        """The search among all centroids, made when the first row asks for it."""
        if self._are_all:
            return self.among_moved
        # Few rows are left: to sketch all centroids would cost more than it saves.
        return self._tiled.search_among(self._book, like=self.among_moved)
