"""The choice of the level to balance from."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.algorithms import LevelSpec, fit_hierarchy
from curation_assets.algorithms.measures.start_level import choose_start_level
from curation_assets.algorithms.measures.yardstick import Yardstick
from curation_assets.algorithms.randomness import Purpose, keyed_priorities
from curation_assets.algorithms.sampling.balanced import draw, plan_quotas

EYE = np.eye(8, dtype=np.float32)


@functools.cache
def eight_groups() -> Yardstick:
    """Eight groups at right angles, of 20 equal rows each: the partition is known."""
    return Yardstick.fit(np.repeat(EYE, 20, axis=0), metric="cosine", seed=0, centring=False)


@pytest.fixture
def yardstick() -> Yardstick:
    return eight_groups()


def groups(*counts: int) -> np.ndarray:
    return np.repeat(EYE, np.pad(np.array(counts, dtype=np.int64), (0, len(EYE)))[: len(EYE)], axis=0)


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


@pytest.mark.parametrize("seed", range(3))
def test_a_collapsed_top_level_is_never_balanced_from(seed: int) -> None:
    """The trap of small top levels: a dense cloud of many kinds in one cluster, outliers in the others."""
    rng = np.random.default_rng(seed)
    kinds = np.zeros((120, 16)) + 3 * np.eye(16)[0] + 0.4 * rng.normal(size=(120, 16))
    cloud = np.repeat(kinds, 10, axis=0) + 0.03 * rng.normal(size=(1200, 16))
    outliers = 3 * rng.normal(size=(60, 16))
    rows = np.concatenate([cloud, outliers]).astype(np.float32)
    levels = [LevelSpec(n_clusters=k, resampling_steps=steps) for k, steps in ((260, 0), (80, 10), (6, 10))]
    tree = fit_hierarchy(rows, levels, metric="cosine", seed=seed)
    clusters = tree.row_clusters()
    shares = [float(np.bincount(clusters[:, t]).max() / len(rows)) for t in range(3)]
    assert shares[2] > 0.5

    prepared = tree.preprocessing.apply(rows)
    sizes = np.bincount(clusters[:, 0], minlength=260)
    draws: dict[int, list[np.ndarray]] = {}
    for level in (1, 2, 3):
        quotas = plan_quotas(sizes, tree.parents()[: level - 1], 126, seed=seed).quotas[0]
        for number in range(3):
            priorities = keyed_priorities(np.arange(len(rows)), seed, Purpose.DRAW, number)
            drawn = draw(clusters[:, 0], priorities, quotas)
            draws.setdefault(level, []).append(prepared[drawn])
    yardstick = Yardstick.fit(prepared, metric="cosine", seed=seed)
    choice = choose_start_level(yardstick, draws, largest_shares=shares)
    assert choice.level < 3
    assert choice.scores[2].collapsed
    # The measures alone see it, too: the mark of collapse is not what decides.
    assert choose_start_level(yardstick, draws, largest_shares=shares, max_share=1).level < 3


@given(
    st.lists(
        st.tuples(
            st.lists(st.integers(1, 9), min_size=1, max_size=8),
            st.integers(0, 2),
            st.sampled_from([0.1, 0.3, 0.6]),
        ),
        min_size=1,
        max_size=5,
    )
)
@settings(max_examples=40, deadline=None)
def test_the_choice_is_the_highest_of_the_best_that_have_not_collapsed(
    levels: list[tuple[list[int], int, float]],
) -> None:
    yardstick = eight_groups()
    draws = {
        t: [groups(*counts), groups(*counts, extra)] for t, (counts, extra, _) in enumerate(levels, start=1)
    }
    shares = [share for *_, share in levels]
    choice = choose_start_level(yardstick, draws, largest_shares=shares)
    allowed = [score for score in choice.scores if score.collapsed <= all(s.collapsed for s in choice.scores)]
    chosen = choice.scores[choice.level - 1]
    assert chosen in allowed
    best = max(score.score for score in allowed)
    loudest = max(score.noise for score in allowed)
    assert chosen.score >= best - loudest - 1e-9
    assert all(score.score < best for score in allowed if score.level > choice.level)
    backwards = dict(reversed(draws.items()))
    assert choose_start_level(yardstick, backwards, largest_shares=shares) == choice


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
