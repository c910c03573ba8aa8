"""Compiled loops of the search for seeds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.algorithms.kmeans.seeding_loops import (
    accept_until_unsure,
    draw_in_blocks,
    keep_best_candidate,
)


def _draw(mass: list[float], edges: list[int], blocks: list[int], positions: list[float]) -> list[int]:
    drawn = np.empty(len(blocks), dtype=np.int64)
    draw_in_blocks(np.array(mass), np.array(edges), np.array(blocks), np.array(positions), drawn)
    return drawn.tolist()


def test_positions_count_from_the_start_of_each_block() -> None:
    mass, edges = [1.0, 0.0, 2.0, 3.0, 0.0], [0, 3, 5]
    assert _draw(mass, edges, [0, 0, 0, 1], [0.0, 0.9, 1.0, 2.9]) == [0, 0, 2, 3]
    # At and beyond a block's whole mass, where rounding may lead: its last row with mass, not the next block's first.
    assert _draw(mass, edges, [0, 1], [3.0, 3.1]) == [2, 3]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30).filter(any), st.integers(0, 1000))
def test_draws_are_those_of_a_cumulative_sum(mass: list[int], seed: int) -> None:
    positions = np.random.default_rng(seed).random(20) * sum(mass)
    expected = np.searchsorted(np.cumsum(mass), positions, side="right")
    found = _draw([float(m) for m in mass], [0, len(mass)], [0] * 20, positions.tolist())
    assert found == expected.tolist()


def test_the_candidate_that_leaves_the_smallest_total_is_kept() -> None:
    # Row 2 leaves 4 + 1 + 0, row 1 leaves 1 + 0 + 1, of which the last counts three times.
    distances = np.array([[0.0, 1.0, 4.0], [1.0, 0.0, 1.0], [4.0, 1.0, 0.0]])
    squared, candidates = np.full(3, np.inf), np.array([2, 1])
    row, total = keep_best_candidate(distances, candidates, candidates, np.array([1.0, 1.0, 3.0]), squared)
    assert (row, total) == (1, 4.0)
    assert squared.tolist() == [1, 0, 1]
    row, total = keep_best_candidate(distances, candidates[:1], candidates[:1], np.ones(3), squared)
    assert (row, total, squared.tolist()) == (2, 1.0, [1, 0, 0])


def test_of_candidates_that_are_alike_the_first_one_drawn_is_kept() -> None:
    distances = np.array([[0.0, 2.0], [2.0 * (1 - 1e-15), 0.0]])
    for candidates in (np.array([0, 1]), np.array([1, 0])):
        row, total = keep_best_candidate(distances, candidates, candidates, np.ones(2), np.full(2, np.inf))
        assert row == candidates[0]
        assert total == pytest.approx(2.0)


def test_proposals_are_taken_until_one_is_too_close_to_call() -> None:
    scores = np.array([[0.0, 0.9, 0.0, 0.5], [0.9, 0, 0, 0], [0, 0, 0, 0], [0.5, 0, 0, 0]], dtype=np.float32)
    highest = np.full(4, -np.inf, dtype=np.float32)
    keeps = np.zeros(4, dtype=bool)
    # The second is near the first and falls, the third may not stay, the fourth lies on its limit.
    limits, bounds, may_keep = (
        np.full(4, 0.5),
        np.full(4, 0.01, dtype=np.float32),
        np.array([1, 1, 0, 1], dtype=bool),
    )
    assert accept_until_unsure(scores, highest, limits, bounds, may_keep, keeps, 0) == 3
    assert keeps.tolist() == [True, False, False, False]
    assert accept_until_unsure(scores, highest, limits, bounds, may_keep, keeps, 4) == 4
