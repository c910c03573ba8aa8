"""Thinning: proposals are kept as one-at-a-time sampling would have kept them."""

from __future__ import annotations

from unittest.mock import Mock

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2

from curation_assets.algorithms.kmeans import thinning
from curation_assets.algorithms.kmeans.seeding import kmeans_plus_plus
from curation_assets.algorithms.kmeans.thinning import accepted
from curation_assets.algorithms.rows import ArrayRows
from curation_assets.algorithms.search.kind import Kind


def test_a_batch_of_stale_proposals_is_thinned_to_the_exact_distribution() -> None:
    # Whole fits of this size propose one row at a time; here 64 are proposed at once, by distances to row 0
    # alone. Rows in close pairs are where accepting a stale proposal shows.
    points = np.array([[0, 0], [3, 0], [3, 0.5], [0, 4], [0.5, 4], [-5, 1]], dtype=np.float32)
    pairwise = ((points[:, None] - points) ** 2).sum(-1).astype(np.float64)
    stale, n = pairwise[0], 3000
    rng = np.random.default_rng(0)
    seen = np.zeros((6, 6))
    for _ in range(n):
        proposed = rng.choice(6, 64, p=stale / stale.sum())
        kept = accepted(torch.from_numpy(points[proposed]), stale[proposed], rng, len(proposed))
        first, second = proposed[kept[:2]]
        seen[first, second] += 1
    current = np.minimum(stale, pairwise)
    expected = (n * stale / stale.sum())[1:, None] * current[1:] / current[1:].sum(1, keepdims=True)
    possible = expected > 0
    assert seen[0].sum() == seen[1:][~possible].sum() == 0
    statistic = ((seen[1:] - expected)[possible] ** 2 / expected[possible]).sum()
    assert statistic < chi2.ppf(0.9999, possible.sum() - 1)


def test_draws_within_the_error_of_float32_are_decided_in_float64() -> None:
    # Far from the origin a float32 score cannot tell a copy of a row from a row nearby.
    points = np.array([[5000, 0], [5000, 0], [5000, 0.25], [5000, 0.5]], dtype=np.float32)

    draws = Mock(random=lambda n: np.array([0.0, 0.0, 0.07, 0.2])[:n])
    # The first is kept; its copy at distance 0 is not; 0.0625 < 0.07 is not; 0.25 > 0.2 is.
    kept = accepted(torch.from_numpy(points), np.ones(4), draws, 4)
    assert kept.tolist() == [0, 3]


def test_no_more_proposals_are_kept_than_seeds_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thinning, "_ACCEPT_BLOCK", 8)
    monkeypatch.setattr(thinning, "_BLOCKS_AT_ONCE", 2)
    points = torch.from_numpy(np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32))
    stale = np.full(60, 8.0)
    every = accepted(points, stale, np.random.default_rng(1), 60)
    assert 20 < len(every) < 60
    for room in (1, 8, 19):
        kept = accepted(points, stale, np.random.default_rng(1), room)
        assert kept.tolist() == every[:room].tolist()


@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 40), st.sampled_from([0.0, 5.0, 5000.0]))
def test_other_devices_keep_the_same_proposals(seed: int, n: int, room: int, offset: float) -> None:
    rng = np.random.default_rng(seed)
    # Copies and close rows; far from the origin float32 decides nothing.
    points = (rng.integers(-4, 5, (n, 2)) / 4 + offset).astype(np.float32)
    stale = rng.choice([0.0, 0.3, 2.0], n)
    expected = accepted(torch.from_numpy(points), stale, np.random.default_rng(seed), room)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(thinning, "kind_of", lambda _: Kind.PLAIN)
        found = accepted(torch.from_numpy(points), stale, np.random.default_rng(seed), room)
    assert found.tolist() == expected.tolist()


def test_whole_searches_for_seeds_are_the_same_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thinning, "kind_of", lambda _: Kind.PLAIN)
    rows = ArrayRows(np.random.default_rng(1).normal(size=(800, 8)).astype(np.float32))
    there = kmeans_plus_plus(rows, 200, np.random.default_rng(2), n_local_trials=1)
    monkeypatch.undo()
    assert there.tolist() == kmeans_plus_plus(rows, 200, np.random.default_rng(2), n_local_trials=1).tolist()
