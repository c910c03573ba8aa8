"""Subsets that are compared, drawn from pools built by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation_assets.steps.comparison.candidates import Candidates, ChosenDraw, Size, draw_seeds
from curation_assets_tests.steps.built_pool import BuiltPool, Text

PLAIN = [{"n_clusters": 4, "resampling_steps": 0}, {"n_clusters": 2, "resampling_steps": 0}]


def built(folder: Path, **settings: Any) -> BuiltPool:
    """Shard x has clusters 0 (8 rows) and 1 (4), shard y 2 (6) and 3 (2); 0 and 1 are below 0, the others below 1."""
    texts = {
        "x": [Text(f"x{i}", 0 if i < 8 else 1, n_tokens=1 + i % 3) for i in range(12)],
        "y": [Text(f"y{i}", 2 if i < 6 else 3, n_tokens=5) for i in range(8)],
    }
    defaults: dict[str, Any] = {"targets": [{"name": "some", "size": 8}], "levels": PLAIN}
    return BuiltPool(folder, texts, n_clusters=4, parents=[[0, 0, 1, 1]], **{**defaults, **settings})


def candidates(pool: BuiltPool) -> Candidates:
    return Candidates.read(pool.spec, pool.storage)


def test_every_draw_has_its_size_and_no_row_twice(tmp_path: Path) -> None:
    pool = candidates(built(tmp_path))
    size = Size(8)
    draws = [
        pool.random(size, np.random.default_rng(1)),
        pool.flat(size, 1),
        pool.from_level(size, 1, 1, evenness=0.75),
        pool.from_level(size, 2, 1, evenness=1.0, strategy="closest"),
    ]
    for rows in draws:
        assert rows is not None
        assert len(rows) == 8
        assert (np.diff(rows) > 0).all()


def test_flat_k_means_gives_every_cluster_the_same(tmp_path: Path) -> None:
    pool = candidates(built(tmp_path))
    rows = pool.flat(Size(8), 3)
    assert rows is not None
    assert np.bincount(pool.index.clusters[rows]).tolist() == [2, 2, 2, 2]


def test_quotas_start_at_the_level_that_is_asked_for(tmp_path: Path) -> None:
    pool = candidates(built(tmp_path))
    taken = [
        np.bincount(pool.index.clusters[pool.from_level(Size(10), level, 0, evenness=1.0)])
        for level in (1, 2)
    ]
    assert taken[0].tolist() in ([3, 3, 2, 2], [3, 2, 3, 2], [2, 3, 3, 2])
    assert (taken[1][:2].sum(), taken[1][2:].sum()) == (5, 5)


def test_the_rule_of_a_target_draws_what_selection_drew(tmp_path: Path) -> None:
    targets = [
        {"name": "some", "size": 8, "balance_from": "level_1", "seed": 5},
        {"name": "budget", "tokens": 20, "evenness": 0.5},
    ]
    pool = built(tmp_path, targets=targets, seed=3)
    pool.select()
    for target, seed in zip(pool.spec.targets, (5, 3), strict=True):
        chosen = ChosenDraw.read(pool.storage, target, candidates(pool).index)
        assert chosen.redraw(candidates(pool), seed).tolist() == chosen.rows.tolist()
        assert chosen.size == Size(target.size or 20, in_tokens=target.size is None)
    other = ChosenDraw.read(pool.storage, pool.spec.targets[0], candidates(pool).index)
    assert any(other.redraw(candidates(pool), s).tolist() != other.rows.tolist() for s in draw_seeds(3, 5, 0))


def test_a_random_draw_of_tokens_stays_below_its_budget(tmp_path: Path) -> None:
    pool = candidates(built(tmp_path, targets=[{"name": "some", "tokens": 9}]))
    tokens = pool.index.n_tokens
    assert tokens is not None
    for seed in range(20):
        rows = pool.random(Size(9, in_tokens=True), np.random.default_rng(seed))
        assert len(rows)
        assert 9 - tokens.max() < tokens[rows].sum() <= 9
    heavy = pool.random(Size(4, in_tokens=True), np.random.default_rng(0))
    assert tokens[heavy].max() <= 4, "a sample that alone exceeds the budget is left out"


def test_rows_that_are_held_out_are_in_no_draw(tmp_path: Path) -> None:
    whole = candidates(built(tmp_path))
    held_out = np.array([0, 1, 2, 13])
    pool = whole.without(held_out)
    assert pool.total() == Size(16)
    size = Size(16)
    draws = [
        pool.random(size, np.random.default_rng(0)),
        pool.flat(size, 0),
        pool.from_level(size, 2, 0, evenness=0.5),
        pool.sample(20, seed=0),
    ]
    for rows in draws:
        assert rows is not None
        assert not set(rows.tolist()) & set(held_out.tolist())
        assert len(rows) == 16
    assert whole.total() == Size(20)


def test_excluded_rows_are_in_no_draw(tmp_path: Path) -> None:
    twin = ("duplicate", "semantic", "x", "x0", 0.99)
    texts = {"x": [Text("x0"), Text("x1", twin=twin), Text("x2"), Text("x3")]}
    pool = BuiltPool(
        tmp_path,
        texts,
        n_clusters=1,
        targets=[{"name": "all", "size": 3}],
        levels=PLAIN[:1],
        deduplication={},
    )
    read = candidates(pool)
    for rows in (read.random(Size(3), np.random.default_rng(0)), read.flat(Size(3), 0), read.rows()):
        assert rows is not None
        assert rows.tolist() == [0, 2, 3]


def test_flat_clusters_that_know_too_few_rows_give_no_draw(tmp_path: Path) -> None:
    whole = candidates(built(tmp_path))
    known = whole.flat_clusters.copy()
    known[5:] = -1
    partly = Candidates(
        whole.index, whole.parents, whole.n_clusters, known, whole.n_flat_clusters, whole.available
    )
    assert partly.flat(Size(6), 0) is None
    rows = partly.flat(Size(5), 0)
    assert rows is not None
    assert rows.tolist() == [0, 1, 2, 3, 4]


def test_a_sample_follows_the_ids_of_the_rows(tmp_path: Path) -> None:
    pool = candidates(built(tmp_path))
    rows = pool.sample(6, seed=1)
    assert len(rows) == 6
    assert rows.tolist() == pool.sample(6, seed=1).tolist()
    assert rows.tolist() != pool.sample(6, seed=2).tolist()
    left = np.setdiff1d(pool.rows(), rows)[:3]
    assert pool.without(left).sample(6, seed=1).tolist() == rows.tolist()


def test_seeds_of_redraws_differ_from_each_other_and_from_those_of_users() -> None:
    seeds = draw_seeds(0, 50, 1, 2)
    assert len(set(seeds)) == 50
    assert min(seeds) >= 2**31
    assert not set(seeds) & set(draw_seeds(0, 50, 2, 1))


def test_a_size_in_tokens_needs_counted_tokens(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="tokens are counted"):
        candidates(built(tmp_path)).random(Size(3, in_tokens=True), np.random.default_rng(0))
