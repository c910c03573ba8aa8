"""Decisions in float64."""

from __future__ import annotations

import math

import torch

from curation_assets.algorithms.search.codebook import MOST_CENTROIDS, Codebook
from curation_assets.algorithms.search.exact import leave_out, lowest_nearest, resolve


def test_of_equally_near_columns_the_lowest_wins() -> None:
    row, column = torch.tensor([0, 0, 0, 2, 2]), torch.tensor([7, 3, 5, 9, 4])
    squared = torch.tensor([1.0, 2.0, 1.0, 0.5, 0.5], dtype=torch.float64)
    smallest, lowest = lowest_nearest(row, column, squared, 3)
    assert smallest.tolist() == [1.0, math.inf, 0.5]
    assert (lowest[0], lowest[2]) == (5, 4)


def test_a_column_that_is_left_out_may_be_elsewhere() -> None:
    scores = torch.zeros(3, 2)
    leave_out(scores, torch.tensor([1, -1, 2]))
    assert scores.tolist() == [[0, -math.inf], [0, 0], [0, 0]]


def test_rows_and_centroids_in_several_tiles() -> None:
    k = MOST_CENTROIDS + 600
    # Each centroid is there again further on, beyond the first tile for the last ones.
    centroids = (torch.arange(k) % (MOST_CENTROIDS - 100)).float()[:, None]
    book, rows = Codebook.of(centroids), torch.arange(0, MOST_CENTROIDS - 100, 97).float()[:, None]
    assert len(rows) > book.tile_rows()
    nothing = torch.full((len(rows),), -math.inf)
    near = 0.5 * rows[:, 0] ** 2 - 1
    assert torch.equal(resolve(rows, book, near), rows[:, 0].long())
    assert torch.equal(resolve(rows[:70], book, nothing[:70]), rows[:70, 0].long())
    # The first of two copies is left out, then the second.
    again = rows[:7, 0].long() + MOST_CENTROIDS - 100
    assert torch.equal(resolve(rows[:7], book, near[:7], rows[:7, 0].long()), again)
    assert torch.equal(resolve(rows[:7], book, near[:7], again), rows[:7, 0].long())
