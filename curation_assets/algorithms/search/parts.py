"""A search among more centroids than are compared with rows at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch

from curation_assets.algorithms.search.base import Found, NearestCentroids, SearchedRows
from curation_assets.algorithms.search.codebook import MOST_CENTROIDS, Codebook


class CentroidsInParts(NearestCentroids):
    """Searches one part of the centroids after another; what one part finds rules out centroids of the next.

    Args:
        book: the centroids.
        search: makes the search among some of them, always with the same viewer.
        most: centroids of a part.
    """

    def __init__(
        self, book: Codebook, search: Callable[[Codebook], NearestCentroids], most: int = MOST_CENTROIDS
    ) -> None:
        self.book = book
        self._parts = [(first, search(book[first : first + most])) for first in range(0, len(book), most)]
        self.viewer = self._parts[0][1].viewer

    def tile_rows(self) -> int:
        """See `NearestCentroids`."""
        return self._parts[0][1].tile_rows()

    def leading(self, rows: SearchedRows, *, runner_up: bool = False) -> Found:
        """See `NearestCentroids`."""
        if rows.view is None and self.viewer is not None:
            rows = replace(rows, view=self.viewer.view(rows.block, rows.norms))
        lowest = torch.full_like(rows.norms, -math.inf)
        slack, at_least, own, left_out = 4 * self.book.error_bound(rows.norms), rows.at_least, rows.own, None
        found = Found(torch.zeros(len(rows), dtype=torch.int64, device=lowest.device), lowest, lowest)
        for first, search in self._parts:
            if rows.left_out is not None:
                inside = (rows.left_out >= first) & (rows.left_out < first + len(search.book))
                left_out = torch.where(inside, rows.left_out - first, -1)
            if runner_up:
                # Of all so far the best counts as a centroid outside this part.
                own = found.score if rows.own is None else torch.maximum(rows.own, found.score)
            else:
                # By more than the slack of `best`: a winner that is clear stays so.
                reached = found.score - slack
                at_least = reached if rows.at_least is None else torch.maximum(rows.at_least, reached)
            part = replace(rows, at_least=at_least, own=own, left_out=left_out)
            found = _better(found, search.leading(part, runner_up=runner_up), first)
        return found


def _better(before: Found, after: Found, first: int) -> Found:
    """The better of two answers; columns of the second count from `first`."""
    wins = after.score > before.score
    loser = torch.minimum(before.score, after.score)
    return Found(
        torch.where(wins, after.column + first, before.column),
        torch.maximum(before.score, after.score),
        torch.maximum(loser, torch.maximum(before.others, after.others)),
    )
