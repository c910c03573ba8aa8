"""The search on CUDA: one product in float16, and float64 for what that leaves open.

The product gives the two best scores of each row and the best of each tile of centroids, within a proven bound
(`ScoreError`). Where the second-best score could reach the best, the best is computed again in float64. If the
second-best could still reach it, the row is open: in each tile whose best score could reach it, a second product lists
all centroids that could, and their distances are compared in float64. These are summed in the order of the CPU's loops,
so both find the same centroid.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import torch

from curation_assets.algorithms.search.base import Found, NearestCentroids, SearchedRows
from curation_assets.algorithms.search.codebook import Codebook
from curation_assets.algorithms.search.cuda import launches, row_launches
from curation_assets.algorithms.search.cuda.arithmetic import CudaArithmetic
from curation_assets.algorithms.search.cuda.compact import Block
from curation_assets.algorithms.search.cuda.rounding import (
    LARGEST_NORM,
    HalfCentroids,
    HalfRows,
    HalfViewer,
    ScoreError,
)
from curation_assets.algorithms.search.parts import CentroidsInParts
from curation_assets.algorithms.search.plain.search import PlainCentroids

Answer = TypeVar("Answer", bound=Found)
# Limits on memory: best scores of tiles that are kept at a time, pairs of an open row and a tile, and words of bits.
_MOST_MAXIMA, _MOST_REACHED, _MOST_WORDS = 2**27, 2**22, 2**20
# Bounds are computed in float32.
_SLACK = 1 + 1e-3


@dataclass(frozen=True, slots=True)
class Decided(Found):
    """An answer that is exact already."""

    is_open: torch.Tensor
    """bool (b,): rows that distances in float64 decided."""


class CudaCentroids(NearestCentroids):
    """Scores all centroids in float16 on tensor cores and decides in float64; `leading` is exact too.

    Rows longer than `LARGEST_NORM` are left to the plain search.

    Args:
        book: the centroids, none longer than `LARGEST_NORM`.
    """

    viewer: HalfViewer

    def __init__(self, book: Codebook) -> None:
        self.book, self.viewer = book, HalfViewer()
        self.half = HalfCentroids.of(book.centroids, book.bias, book.largest_norm)
        self._error = ScoreError.of(self.half)

    def tile_rows(self) -> int:
        """See `NearestCentroids`."""
        return CudaArithmetic.tile_rows

    def leading(self, rows: SearchedRows, *, runner_up: bool = False) -> Found:
        """See `NearestCentroids`."""
        half = self._half_rows(rows)
        return self.decided(rows, half) if _in_range(half) else self._beyond_range(rows)

    def best(self, rows: SearchedRows, *, runner_up: bool = False) -> Found:
        """See `NearestCentroids`."""
        half = self._half_rows(rows)
        if _in_range(half):
            return self.decided(rows, half)
        return super().best(replace(rows, view=half), runner_up=runner_up)

    def decided(self, rows: SearchedRows, half: HalfRows) -> Decided:
        """The exact nearest centroid of each row; waits for the device a few times.

        Args:
            rows: b of them; `own` is not used.
            half: the same ones, none longer than `LARGEST_NORM`.

        Returns:
            The answer. Memory beside it: 4 bytes for each row and tile of 128 or 256 centroids, at most 512 MiB, and
            about as much again; 3 GB where nearly all centroids are equally near.
        """
        k, dimension = self.book.centroids.shape
        tile = launches.tile_for(len(rows), k, dimension, self.book.centroids.device)
        step = max(1, _MOST_MAXIMA * tile.columns // len(self.half.bias))
        # Triton launches on the current device.
        with torch.cuda.device_of(self.book.centroids):
            parts = [
                self._decided(rows[start : start + step], half[start : start + step], tile)
                for start in range(0, max(1, len(rows)), step)
            ]
        return _joined(parts)

    def _half_rows(self, rows: SearchedRows) -> HalfRows:
        return rows.view if isinstance(rows.view, HalfRows) else self.viewer.view(rows.block, rows.norms)

    def _beyond_range(self, rows: SearchedRows) -> Found:
        plain = CentroidsInParts(self.book, PlainCentroids)
        step = plain.tile_rows()
        starts = range(0, max(1, len(rows)), step)
        return _joined([plain.leading(replace(rows, view=None)[start : start + step]) for start in starts])

    def _decided(self, rows: SearchedRows, half: HalfRows, tile: launches.Tile) -> Decided:
        left_out = None if rows.left_out is None else rows.left_out.to(torch.int32).contiguous()
        best, column, second, maxima = launches.best_two(half, self.half, left_out, tile)
        # The kernel cuts this share off its scores, see `kernels._two_best`.
        share = tile.columns * 2.0**-23 * _SLACK
        first, score, others, thresholds = row_launches.settle(
            rows.block, rows.norms, half.residuals, rows.at_least, self.book.centroids, self.half.bias,
            (best, column, second), self._error, share,
        )  # fmt: skip
        is_open = thresholds < math.inf
        lowered = torch.where(is_open, thresholds - share * thresholds.abs(), math.inf)
        tiles, numbers = torch.nonzero(maxima >= lowered, as_tuple=True)
        if not len(tiles):
            return Decided(first, score, others, is_open)
        lowest = self._lowest_of(rows.block, half, thresholds, left_out, (tiles, numbers), tile.columns)
        column = torch.where(is_open, lowest, first)
        row_launches.score_again(rows.block, self.book.centroids, self.book.bias, column, first, score)
        return Decided(column, score, torch.where(is_open, score, others), is_open)

    def _lowest_of(
        self,
        block: Block,
        half: HalfRows,
        thresholds: torch.Tensor,
        left_out: torch.Tensor | None,
        pairs: tuple[torch.Tensor, torch.Tensor],
        n_columns: int,
    ) -> torch.Tensor:
        """The nearest of all centroids that reach a row's threshold, the lowest of equally near ones, int64 (n,).

        Args:
            block: n rows.
            half: the same rows.
            thresholds: float32 (n,).
            left_out: int32 (n,): a centroid that does not count, or -1.
            pairs: tiles int64 (p,), ascending, and rows int64 (p,): where such centroids may be.
            n_columns: of a tile.
        """
        nearest = torch.full_like(thresholds, math.inf, dtype=torch.float64)
        lowest = torch.full_like(nearest, len(self.book), dtype=torch.int64)
        for start in range(0, len(pairs[0]), _MOST_REACHED):
            tiles, numbers = (part[start : start + _MOST_REACHED] for part in pairs)
            words = launches.reach(half, self.half, left_out, thresholds, (tiles, numbers), n_columns)
            for place, inside in _positions(words):
                row, cluster = numbers[place], tiles[place] * n_columns + inside
                squared = row_launches.pair_squares(block, row, self.book.centroids, cluster)
                _keep_nearest(row, cluster, squared, nearest, lowest)
        return lowest


def _in_range(half: HalfRows) -> bool:
    # False for NaN too.
    return half.largest_norm < LARGEST_NORM


def _joined(parts: list[Answer]) -> Answer:
    if len(parts) == 1:
        return parts[0]
    kind, names = type(parts[0]), [field.name for field in fields(parts[0])]
    return kind(*(torch.cat([getattr(part, name) for part in parts]) for name in names))


def _keep_nearest(
    row: torch.Tensor,
    cluster: torch.Tensor,
    squared: torch.Tensor,
    nearest: torch.Tensor,
    lowest: torch.Tensor,
) -> None:
    """Lower the smallest squared distances of rows, and the lowest centroids at those distances, by pairs.

    Args:
        row: int64 (p,).
        cluster: int64 (p,).
        squared: float64 (p,).
        nearest: float64 (n,), changed.
        lowest: int64 (n,), changed: more than any centroid where there is none yet.
    """
    before = nearest[row]
    nearest.scatter_reduce_(0, row, squared, "amin")
    after = nearest[row]
    # Where something nearer came, the lowest so far no longer counts.
    beyond = torch.iinfo(torch.int64).max
    lowest[row] = torch.where(after < before, beyond, lowest[row])
    lowest.scatter_reduce_(0, row, torch.where(squared == after, cluster, beyond), "amin")


def _positions(words: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Rows and columns, int64 (p,) each, of the bits that are set in int32 (n, w), some words at a time."""
    row, word = torch.nonzero(words, as_tuple=True)
    filled = words[row, word]
    for start in range(0, len(filled), _MOST_WORDS):
        bits = filled[start : start + _MOST_WORDS, None] & _bits(words.device)
        place, bit = torch.nonzero(bits, as_tuple=True)
        yield row[start + place], word[start + place] * 32 + bit


@functools.cache
def _bits(device: torch.device) -> torch.Tensor:
    ones = torch.ones(32, dtype=torch.int32, device=device)
    return ones << torch.arange(32, dtype=torch.int32, device=device)
