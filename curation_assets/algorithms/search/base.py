"""The seam of the searches for nearest centroids: question, answer and exact decision, on any device."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from curation_assets.algorithms.search.codebook import Codebook
from curation_assets.algorithms.search.cuda.compact import Block, prepared
from curation_assets.algorithms.search.exact import resolve


class RowView(Protocol):
    """Rows as a search wants to see them, for example their sketches."""

    def __getitem__(self, rows: slice | torch.Tensor) -> RowView:
        """The view of some of the rows."""


class Viewer(Protocol):
    """Makes the views that a kind of search needs."""

    @property
    def is_kept(self) -> bool:
        """Whether a view is worth keeping from one search to the next."""

    def view(self, block: Any, norms: torch.Tensor) -> RowView:
        """The view of b rows whose lengths are float32 (b,)."""


@dataclass(frozen=True, slots=True)
class SearchedRows:
    """Rows to find the nearest centroids of, and what is known about them."""

    block: Block
    """b rows: float32 (b, d), or as they are stored."""
    norms: torch.Tensor
    """float32 (b,): lengths of the rows."""
    view: RowView | None = None
    """Made by the search's viewer; None leaves it to the search."""
    at_least: torch.Tensor | None = None
    """float32 (b,): lower scores are of no interest."""
    own: torch.Tensor | None = None
    """float32 (b,): score of a centroid that is not searched, or left out: the runner-up may be that one."""
    left_out: torch.Tensor | None = None
    """int64 (b,): a centroid that does not count, or -1."""

    @classmethod
    def of(cls, block: torch.Tensor) -> SearchedRows:
        """Rows float32 (b, d) without anything known about them."""
        return cls(block, torch.linalg.vector_norm(block, dim=1))

    @property
    def tensor(self) -> torch.Tensor:
        """float32 (b, d): the rows."""
        return prepared(self.block)

    def __len__(self) -> int:
        return len(self.block)

    def __getitem__(self, rows: slice) -> SearchedRows:
        """Some of the rows."""
        known = (None if value is None else value[rows] for value in (self.at_least, self.own, self.left_out))
        view = None if self.view is None else self.view[rows]
        return SearchedRows(self.block[rows], self.norms[rows], view, *known)


@dataclass(frozen=True, slots=True)
class Found:
    """Answer of a search. Scores are those of `Codebook`, accurate to its `error_bound`."""

    column: torch.Tensor
    """int64 (b,): a centroid; any, where the score is below `at_least`."""
    score: torch.Tensor
    """float32 (b,) of that centroid; -inf where none was scored."""
    others: torch.Tensor
    """float32 (b,): no other centroid's score exceeds it. Below `at_least` it need not be tight."""


class NearestCentroids(ABC):
    """A search among centroids.

    An implementation gives `leading`, which scores in float32; what that leaves open is decided here.
    """

    book: Codebook
    """The centroids."""
    viewer: Viewer | None = None
    """Makes the views of rows; None if the search wants none."""

    @abstractmethod
    def tile_rows(self) -> int:
        """Rows to search for together."""

    @abstractmethod
    def leading(self, rows: SearchedRows, *, runner_up: bool = False) -> Found:
        """The centroid with the highest float32 score of each row.

        Args:
            rows: about `tile_rows` of them.
            runner_up: `others` is as tight as the search allows. Otherwise it only shows whether the winner is clear:
                no other centroid is within twice the error bound of it.
        """

    def best(self, rows: SearchedRows, *, runner_up: bool = False) -> Found:
        """The exact nearest centroid of each row, the lowest index of equally near ones; see `leading`."""
        found = self.leading(rows, runner_up=runner_up)
        # Computed scores are off by at most e = error_bound: the winner of two is certain beyond a gap of 2 e, and the
        # nearest centroid scores at least the highest score - 2 e.
        slack = 2 * self.book.error_bound(rows.norms)
        is_open = found.score - found.others <= slack
        if rows.at_least is not None:
            is_open &= found.score >= rows.at_least
        unsure = torch.nonzero(is_open).flatten()
        if len(unsure):
            left_out = None if rows.left_out is None else rows.left_out[unsure]
            threshold = (found.score - slack)[unsure]
            block = rows.block.index_select(0, unsure)
            found.column[unsure] = resolve(block, self.book, threshold, left_out)
            found.others[unsure] = found.score[unsure]
        return found

    def best_two(self, rows: SearchedRows) -> Found:
        """`best`, with what the runner-up's score cannot exceed."""
        return self.best(rows, runner_up=True)
