"""The level that a library draw is balanced from, measured on the tree's own rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.algorithms import ClusterTree, effective_number, sample_balanced
from curation_assets.algorithms.preprocessing import Preprocessing
from curation_assets.algorithms.rows import ArrayRows
from curation_assets.algorithms.sampling.start_levels import (
    draw_priorities,
    thinned_draws,
    tree_start_level,
    yardstick_rows,
)
from curation_assets.algorithms.tree import Level

# Level 1 has a cluster for each of 24 topics. Level 2 joins 20 of them, among them the largest, and leaves one topic in
# each of its other clusters.
SIZES = np.array([180, 100, 50, 40, 30, 20, 20, *[10] * 17])
JOINED = np.array([0] * 20 + [1, 2, 3, 4])


def collapsed_tree() -> tuple[ClusterTree, np.ndarray]:
    """The tree, which keeps its rows, and the topic of each row."""
    rng = np.random.default_rng(0)
    topics = rng.permutation(np.repeat(np.arange(24), SIZES))
    x = rng.normal(scale=0.05, size=(len(topics), 32)).astype(np.float32)
    x[np.arange(len(topics)), topics] += 1
    distances = rng.random(len(topics), np.float32)
    levels = (
        Level(np.eye(24, 32, dtype=np.float32), topics, distances, ()),
        Level(np.eye(5, 32, dtype=np.float32), JOINED, np.zeros(24, np.float32), ()),
    )
    return ClusterTree(levels, Preprocessing("cosine", None, 2.0**-24), 0, ArrayRows(x)), topics


def test_a_collapsed_top_level_is_not_balanced_from() -> None:
    tree, topics = collapsed_tree()
    choice = tree_start_level(tree, 48)
    assert choice.level == 1
    assert [score.collapsed for score in choice.scores] == [False, True]
    assert choice.scores[0].vendi > 1.5 * choice.scores[1].vendi

    def effective(**given: int) -> float:
        draws = [sample_balanced(tree, 48, seed=seed, evenness=1, **given) for seed in range(5)]  # type: ignore[arg-type]
        return float(np.mean([effective_number(np.bincount(topics[rows])) for rows in draws]))

    rng = np.random.default_rng(0)
    random = np.mean([effective_number(np.bincount(topics[rng.permutation(610)[:48]])) for _ in range(20)])
    # The trap: from the top, four small topics take four fifths.
    assert effective(balance_from=2) < random < effective()
    assert effective() == pytest.approx(24)


def test_a_draw_starts_at_the_level_that_was_chosen() -> None:
    tree, _ = collapsed_tree()
    tokens = np.random.default_rng(0).integers(0, 40, len(tree.levels[0].assignments))
    for weights, size in ((None, 50), (tokens, 900)):
        for evenness in (0.75, 1.0):
            chosen = sample_balanced(tree, size, evenness=evenness, weights=weights, seed=3)
            named = sample_balanced(tree, size, balance_from=1, evenness=evenness, weights=weights, seed=3)
            np.testing.assert_array_equal(chosen, named)
    top = sample_balanced(tree, 50, balance_from=2, seed=3)
    assert not np.array_equal(top, sample_balanced(tree, 50, seed=3))


def test_rows_are_those_of_the_tree() -> None:
    tree, _ = collapsed_tree()
    assert tree.rows is not None
    x = tree.rows.take(np.arange(610))
    without = replace(tree, rows=None)
    with pytest.raises(ValueError, match=r"'auto', but the tree keeps no rows .* pass rows, or a level"):
        sample_balanced(without, 48)
    for given_rows in (x, ArrayRows(x)):
        found = sample_balanced(without, 48, rows=given_rows)
        np.testing.assert_array_equal(found, sample_balanced(tree, 48))
    sample_balanced(without, 48, balance_from=2)
    sample_balanced(replace(without, levels=tree.levels[:1]), 48)
    with pytest.raises(
        ValueError, match=r"rows has shape \(610, 5\), but the tree was fitted on \(610, 32\)"
    ):
        sample_balanced(tree, 48, rows=x[:, :5])
    with pytest.raises(ValueError, match="not finite"):
        sample_balanced(tree, 48, rows=np.full_like(x, np.nan))
    with pytest.raises(ValueError, match=r"balance_from must be 'auto' or the number of a level, got 'top'"):
        sample_balanced(tree, 48, balance_from="top")  # type: ignore[arg-type]


def test_choices_depend_neither_on_seeds_of_chance_nor_on_how_rows_are_held() -> None:
    tree, _ = collapsed_tree()
    assert tree.rows is not None
    assert {tree_start_level(tree, 48, seed=seed).level for seed in range(5)} == {1}
    x = tree.rows.take(np.arange(610))
    assert tree_start_level(tree, 48, rows=x) == tree_start_level(tree, 48)


@given(st.integers(0, 300), st.booleans(), st.sampled_from([1, 2]))
def test_thinned_draws_take_rows_as_likely_as_the_whole_draw(seed: int, in_tokens: bool, level: int) -> None:
    rng = np.random.default_rng(seed)
    clusters, parents = (12 * rng.random(900) ** 2).astype(np.int64), [rng.integers(0, 4, 12)]
    clusters[rng.random(900) < 0.1] = 12  # may not be drawn
    tokens = rng.integers(1, 9, 900) if in_tokens else np.ones(900, np.int64)
    sizes = np.bincount(clusters, weights=tokens, minlength=13)[:12].astype(np.int64)
    target = int(rng.integers(1, sizes.sum() + 1))
    priorities = draw_priorities(np.arange(900), seed)
    most = int(rng.integers(1, 400))
    draws = list(
        thinned_draws(
            clusters, sizes, parents, target, priorities, level=level, seed=seed, n_draws=2, most_rows=most
        )
    )
    assert len(draws) == 2
    for rows in draws:
        assert 1 <= len(rows) <= most
        assert (np.diff(rows) > 0).all()
        assert (clusters[rows] < 12).all()
        if not in_tokens:
            assert len(rows) == min(most, target)


def test_thinned_draws_have_equal_shares() -> None:
    clusters, parents = np.repeat(np.arange(4), [1000, 500, 300, 200]), [np.array([0, 0, 0, 1])]
    sizes = np.bincount(clusters)
    priorities = draw_priorities(np.arange(2000), 0)
    for level, expected in ((1, [50, 50, 50, 50]), (2, [100 / 3, 100 / 3, 100 / 3, 100])):
        for rows in thinned_draws(
            clusters, sizes, parents, 400, priorities, level=level, seed=0, most_rows=200
        ):
            assert (np.abs(np.bincount(clusters[rows]) - expected) < 1).all()


def test_yardsticks_are_fitted_on_rows_that_keys_choose_and_order() -> None:
    keys = np.random.default_rng(0).permutation(30_000)
    rows = yardstick_rows(keys, 5)
    assert len(rows) == len(np.unique(rows)) == 20_000
    order = np.random.default_rng(1).permutation(30_000)
    np.testing.assert_array_equal(keys[order][yardstick_rows(keys[order], 5)], keys[rows])
    assert sorted(yardstick_rows(keys[:7], 5).tolist()) == list(range(7))
