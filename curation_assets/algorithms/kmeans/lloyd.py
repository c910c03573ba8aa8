"""Lloyd's iterations on one worker's rows: exact assignments, searching only what can have changed.

For each row a rival score is kept that no centroid but its own exceeds. A centroid that stayed where it was cannot
exceed it later; those that moved are looked at by their sketches, or in bfloat16, first, and only rows for which
one of them might be nearer than their own are compared in float32, and in float64 where that is too close to call.
"""

from __future__ import annotations

import functools
import math
import threading

import numpy as np
import torch

from curation_assets.algorithms.kmeans.centroid_sums import SumDelta
from curation_assets.algorithms.kmeans.row_sums import add_rows
from curation_assets.algorithms.kmeans.tiles import TiledRows
from curation_assets.algorithms.rows import Metric
from curation_assets.algorithms.search.assignment import (
    Codebook,
    moved_centroids,
    nearest,
    nearest_sketched,
    reported_distance,
    squared_distances,
    squared_lengths,
    tile_rows,
    top_two,
)
from curation_assets.algorithms.search.cpu.sketch import Basis, Sketches, WholeRows
from curation_assets.algorithms.search.cpu.sketched_centroids import SketchedCentroids
from curation_assets.algorithms.search.rounded_scores import RoundedCentroids

# Where more than this share of the centroids moved, one full search is cheaper than a partial one.
_FULL_SEARCH_SHARE = 0.8
_SUMMED_ROWS = _MEASURED_ROWS = 4096


class Lloyd:
    """Assignments of some rows of a fit, and what they add to the sums of its clusters.

    Args:
        tiled: prepared rows.
        centroids: float32 (k, d) to start from.
        clusters: int64 (n,): the rows' nearest of them, if known.
        weights: float64 (n,): a row counts as so many copies; None counts each once.
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
        squared = torch.empty(len(self._clusters), dtype=torch.float64)
        for start, block in self._tiled.tiles(_SUMMED_ROWS):
            tile = slice(start, start + len(block))
            mass = self._mass(tile, len(block))
            squared[tile] = squared_lengths(block).mul_(mass).cpu()
            self._add(block, None, self._clusters[tile], mass)
        self._dirty = self._counts_gained > 0
        return self._take_delta(), squared.numpy()

    def step(self, centroids: torch.Tensor) -> tuple[SumDelta, int]:
        """Find every row's nearest centroid again, after the centroids have moved.

        Args:
            centroids: float32 (k, d).

        Returns:
            How the sums change, and how many rows changed cluster.
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
            self._rivals.fill_(-math.inf)
        search = _Search(self.book, moved, self._tiled.basis(len(moved)))
        if search.basis is not None:
            self._tiled.make_sketches(search.basis)

        def reassign(start: int, block: torch.Tensor) -> int:
            return self._reassign_tile(search, slice(start, start + len(block)), block)

        n_reassigned = sum(self._tiled.each_tile(reassign, search.tile_rows()))
        self._is_searched = True
        return n_reassigned

    def _reassign_tile(self, search: _Search, tile: slice, block: torch.Tensor) -> int:
        before = self._clusters[tile].clone()
        self._refresh_own_scores(tile, block, before)
        if not self._search_sketched(search, tile, block, before):
            self._search_all(search, tile, block, before)
        after = self._clusters[tile]
        changed = torch.nonzero(after != before).flatten()
        # Rows without a cluster yet are in no sums: `all_rows` adds them up.
        if len(changed) and self._is_assigned:
            mass = self._mass(tile.start + changed, len(changed))
            # Sums belong to all tiles.
            with self._sums_lock:
                self._add(block, changed, before[changed], -mass)
                self._add(block, changed, after[changed], mass)
                self._dirty[before[changed]] = True
                self._dirty[after[changed]] = True
        return len(changed)

    def _refresh_own_scores(self, tile: slice, block: torch.Tensor, clusters: torch.Tensor) -> None:
        """Score each row against its own centroid again, where that moved."""
        if not self._is_searched:
            self._own[tile] = self.book.scores(block, clusters)
            return
        rows = torch.nonzero(self._moved[clusters]).flatten()
        if len(rows):
            self._own[tile.start + rows] = self.book.scores(block, clusters[rows], rows)

    def _search_sketched(
        self, search: _Search, tile: slice, block: torch.Tensor, clusters: torch.Tensor
    ) -> bool:
        """Search a tile with the help of sketches; False, and nothing is done, if they rule out too few."""
        if search.sketched is None or search.basis is None:
            return False
        own, norms = self._own[tile], self._norms[tile]
        bound = self.book.error_bound(norms)
        sketches = self._tiled.sketches(search.basis, tile.start, block)
        found = search.sketched.search(
            block, sketches, norms, own - 2 * bound, bound, own, search.position[clusters]
        )
        if found is None:
            return False
        column, score, others = found
        rows = torch.arange(len(block))
        rest = torch.maximum(self._rivals[tile], others)
        rows = self._settle(tile.start, rows, search.numbers[column], score, rest, 2 * bound)
        if len(rows):
            self._search_whole_book(search, tile.start + rows, block.index_select(0, rows), sketches[rows])
        return True

    def _search_whole_book(
        self, search: _Search, rows: torch.Tensor, block: torch.Tensor, sketches: Sketches
    ) -> None:
        """Compare rows with all centroids, also those that did not move."""
        own, norms, sketched = self._own[rows], self._norms[rows], search.sketched_book
        found = None
        if sketched is not None:
            at_least = own - 2 * self.book.error_bound(norms)
            found = nearest_sketched(
                block, sketches, norms, self.book, sketched, at_least, with_runner_up=True
            )
        if found is None:
            found = nearest(block, norms, self.book)
        self._clusters[rows], self._own[rows], self._rivals[rows] = found

    def _search_all(self, search: _Search, tile: slice, block: torch.Tensor, clusters: torch.Tensor) -> None:
        """Search a tile without sketches."""
        if search.rounded is None:
            self._compare(search, tile.start + torch.arange(len(block), device=block.device), block)
            return
        rows = self._look_first(search, search.rounded, tile, block, clusters)
        if len(rows):
            self._compare(search, tile.start + rows, block.index_select(0, rows))

    def _look_first(
        self,
        search: _Search,
        rounded: RoundedCentroids,
        tile: slice,
        block: torch.Tensor,
        clusters: torch.Tensor,
    ) -> torch.Tensor:
        """Settle what products in bfloat16 and one float32 score a row can settle; returns the rows left open."""
        own, norms, rivals = self._own[tile], self._norms[tile], self._rivals[tile]
        slack = 2 * self.book.error_bound(norms)
        leader, of_leader, of_others = rounded.leaders(
            block,
            norms,
            self._tiled.residuals()[tile],
            own,
            0.5 * slack,
            left_out=search.position[clusters],
            floor=-slack,
        )
        highest = torch.maximum(rivals, own + of_leader)
        stays = highest < own - slack
        rows = torch.nonzero(~stays).flatten()
        rest = torch.maximum(rivals, own + of_others)[rows]
        rivals[:] = torch.where(stays, highest, rivals)
        # The leader of a row that is challenged, against its own centroid and against all others.
        found = search.numbers[leader[rows]]
        score = self.book.scores(block, found, rows)
        return self._settle(tile.start, rows, found, score, rest, slack[rows])

    def _settle(
        self,
        first: int,
        rows: torch.Tensor,
        found: torch.Tensor,
        score: torch.Tensor,
        rest: torch.Tensor,
        slack: torch.Tensor,
    ) -> torch.Tensor:
        """Give rows to the better of their own centroid and another one, if all others are clearly beaten.

        Args:
            first: number of the tile's first row.
            rows: int64 (r,) rows of the tile.
            found: int64 (r,): the other centroid.
            score: float32 (r,) of it.
            rest: float32 (r,): what no third one's score exceeds.
            slack: float32 (r,): scores as far apart as that may be in either order.

        Returns:
            Those of the rows that stay open.
        """
        numbers = first + rows
        own = self._own[numbers]
        winner = torch.maximum(own, score)
        beaten = torch.maximum(torch.minimum(own, score), rest)
        clear = beaten < winner - slack
        settled = numbers[clear]
        self._clusters[settled] = torch.where(score > own, found, self._clusters[numbers])[clear]
        self._own[settled], self._rivals[settled] = winner[clear], beaten[clear]
        return rows[~clear]

    def _compare(self, search: _Search, rows: torch.Tensor, block: torch.Tensor) -> None:
        """Find the exact nearest centroid of some rows.

        A centroid that was not searched scores no more than the row's rival did. So the better of the row's own and
        the best searched one is the nearest of all, if it clearly beats the other, the second-best searched one and
        the old rival; a row for which that is open is compared with all centroids.
        """
        clusters, own, norms = self._clusters[rows], self._own[rows], self._norms[rows]
        slack = 2 * self.book.error_bound(norms)
        best, column, second = top_two(block, search.centroids, search.bias, own - slack)
        found = search.numbers[column]
        best = torch.where(found == clusters, second, best)
        wins = (best > own) & (found != clusters)
        score = torch.maximum(own, best)
        beaten = torch.where(wins, torch.maximum(own, second), best)
        rivals = torch.maximum(self._rivals[rows], beaten)
        nearest_now = torch.where(wins, found, clusters)
        unsure = torch.nonzero(rivals >= score - slack).flatten()
        if len(unsure):
            exact = nearest(block.index_select(0, unsure), norms[unsure], self.book)
            nearest_now[unsure], score[unsure], rivals[unsure] = exact
        self._clusters[rows], self._own[rows], self._rivals[rows] = nearest_now, score, rivals

    def _add(
        self, block: torch.Tensor, rows: torch.Tensor | None, clusters: torch.Tensor, mass: torch.Tensor
    ) -> None:
        """Add rows of a block, each times its mass, to the sums of clusters."""
        add_rows(block, rows, clusters, mass, self._gained)
        self._counts_gained.index_add_(0, clusters, mass)

    def result(self, metric: Metric) -> tuple[np.ndarray, np.ndarray]:
        """Assignments int64 (n,) and distances float32 (n,) as the metric reports them."""
        distances = torch.empty(len(self._clusters), dtype=torch.float32)

        def measure(start: int, block: torch.Tensor) -> None:
            tile = slice(start, start + len(block))
            squared = squared_distances(block, None, self.book.centroids, self._clusters[tile])
            distances[tile] = reported_distance(squared, metric).cpu()

        self._tiled.each_tile(measure, _MEASURED_ROWS)
        return self._clusters.cpu().numpy(), distances.numpy()


class _Search:
    """The centroids that one pass over the rows looks at.

    Args:
        book: all centroids.
        numbers: int64 (m,): those to look at, ascending.
        basis: of the rows' sketches; None to do without.
    """

    def __init__(self, book: Codebook, numbers: torch.Tensor, basis: Basis | WholeRows | None) -> None:
        self.numbers, self.basis = numbers, basis
        self._book = book
        self.centroids, self.bias = book.centroids.index_select(0, numbers), book.bias[numbers]
        self.sketched = SketchedCentroids.if_worthwhile(basis, self.centroids, self.bias, book.largest_norm)
        self.position = torch.full((len(book.centroids),), -1, dtype=torch.int64, device=numbers.device)
        """int64 (k,): place of each centroid among those to look at, or -1."""
        self.position[numbers] = torch.arange(len(numbers), device=numbers.device)

    @functools.cached_property
    def rounded(self) -> RoundedCentroids | None:
        """Those to look at, in bfloat16."""
        return RoundedCentroids.if_worthwhile(self.centroids, self.bias, self._book.largest_norm)

    @functools.cached_property
    def sketched_book(self) -> SketchedCentroids | None:
        """All centroids with their sketches."""
        if len(self.numbers) == len(self._book.centroids):
            return self.sketched
        book = self._book
        return SketchedCentroids.if_worthwhile(self.basis, book.centroids, book.bias, book.largest_norm)

    def tile_rows(self) -> int:
        """Rows of a tile."""
        if self.sketched is not None:
            return self.sketched.tile_rows()
        return tile_rows(len(self.numbers)) if self.rounded is None else self.rounded.tile_rows()
