"""The plain search: all scores by one product. Runs on any device; the oracle of the tests."""

from __future__ import annotations

import math

from curation_assets.algorithms.search.base import Found, NearestCentroids, SearchedRows
from curation_assets.algorithms.search.codebook import Codebook
from curation_assets.algorithms.search.exact import leave_out


class PlainCentroids(NearestCentroids):
    """Scores every row against every centroid."""

    def __init__(self, book: Codebook) -> None:
        self.book = book

    def tile_rows(self) -> int:
        """See `NearestCentroids`."""
        return self.book.tile_rows()

    def leading(self, rows: SearchedRows, *, runner_up: bool = False) -> Found:
        """See `NearestCentroids`; `others` is always the second-highest score."""
        scores = self.book.scores(rows.block)
        if rows.left_out is not None:
            leave_out(scores, rows.left_out)
        score, column = scores.max(dim=1)
        others = scores.scatter_(1, column[:, None], -math.inf).amax(dim=1)
        return Found(column, score, others)
