"""The choice of the level to balance from."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pytest

from curation_assets.algorithms.measures.start_level import choose_start_level
from curation_assets.algorithms.measures.yardstick import Yardstick

EYE = np.eye(8, dtype=np.float32)


@pytest.fixture(scope="module")
def yardstick() -> Yardstick:
    """Eight groups at right angles, of 20 equal rows each: the partition is known."""
    return Yardstick.fit(np.repeat(EYE, 20, axis=0), metric="cosine", seed=0)


def groups(*counts: int) -> np.ndarray:
    return np.repeat(EYE[: len(counts)], counts, axis=0)


def test_the_most_even_level_is_chosen(yardstick: Yardstick) -> None:
    draws = {1: [groups(9, 1, 1, 1)], 2: [groups(3, 3, 3, 3)], 3: [groups(6, 6)]}
    choice = choose_start_level(yardstick, draws, largest_shares=[0.1, 0.1, 0.1])
    assert choice.level == 2
    best = choice.scores[1]
    assert (best.level, best.vendi, best.effective_partition, best.noise) == (2, 4, 4, 0)
    assert best.score == round(2 * math.log(4), 4)
    assert [score.level for score in choice.scores] == [1, 2, 3]


def test_of_equal_levels_the_higher_one_is_chosen(yardstick: Yardstick) -> None:
    draws = {level: [groups(3, 3, 3)] for level in (1, 2, 3)}
    assert choose_start_level(yardstick, draws, largest_shares=[0.1] * 3).level == 3


def test_a_difference_within_the_noise_is_none(yardstick: Yardstick) -> None:
    even, less = groups(4, 4, 4, 4), groups(5, 4, 4, 3)
    noisy = {1: [even, even], 2: [even, less]}
    choice = choose_start_level(yardstick, noisy, largest_shares=[0.1, 0.1])
    assert choice.scores[0].score > choice.scores[1].score
    assert choice.level == 2
    clear = {1: [even, even], 2: [less, less]}
    assert choose_start_level(yardstick, clear, largest_shares=[0.1, 0.1]).level == 1


def test_a_collapsed_level_is_chosen_only_if_all_are(yardstick: Yardstick) -> None:
    draws = {1: [groups(3, 3, 2)], 2: [groups(2, 2, 2, 2)]}
    choice = choose_start_level(yardstick, draws, largest_shares=[0.3, 0.31])
    assert choice.level == 1
    assert [score.collapsed for score in choice.scores] == [False, True]
    assert choose_start_level(yardstick, draws, largest_shares=[0.4, 0.31]).level == 2
    assert choose_start_level(yardstick, draws, largest_shares=[0.3, 0.31], max_share=0.5).level == 2


def test_draws_may_come_one_at_a_time(yardstick: Yardstick) -> None:
    lazy: dict[int, Iterable[np.ndarray]] = {1: (groups(3, n) for n in (1, 2)), 2: iter([groups(3, 3)])}
    assert choose_start_level(yardstick, lazy, largest_shares=[0.2, 0.2]).level == 2


def test_wrong_input_is_named(yardstick: Yardstick) -> None:
    with pytest.raises(ValueError, match="draws is empty"):
        choose_start_level(yardstick, {}, largest_shares=[])
    for draws in ([], [groups()[:0]]):
        with pytest.raises(ValueError, match="level 1 has no draws, or an empty one"):
            choose_start_level(yardstick, {1: draws}, largest_shares=[0.1])
    for level in (0, 2):
        with pytest.raises(ValueError, match=f"draws names level {level}"):
            choose_start_level(yardstick, {level: [groups(1)]}, largest_shares=[0.1])
