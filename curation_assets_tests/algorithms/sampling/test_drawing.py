"""Rows that fill the quotas of their clusters."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.algorithms.randomness import Purpose, keyed_priorities
from curation_assets.algorithms.sampling import drawing
from curation_assets.algorithms.sampling.drawing import draw
from curation_assets.algorithms.sampling.ordering import sorted_blocks


@given(st.integers(0, 500))
def test_a_draw_fills_its_quotas_whatever_the_order_of_the_rows(seed: int) -> None:
    rng = np.random.default_rng(seed)
    clusters, keys = rng.integers(0, 8, 200), np.arange(200)
    quotas = np.minimum(np.bincount(clusters, minlength=8), rng.integers(0, 30, 8))
    chosen = draw(clusters, keyed_priorities(keys, seed, Purpose.DRAW), quotas)
    np.testing.assert_array_equal(np.bincount(clusters[chosen], minlength=8), quotas)
    assert len(np.unique(chosen)) == len(chosen)
    order = rng.permutation(200)
    again = draw(clusters[order], keyed_priorities(keys[order], seed, Purpose.DRAW), quotas)
    assert sorted(order[again].tolist()) == chosen.tolist()


@given(st.integers(0, 10_000), st.sampled_from(["random", "closest"]))
def test_a_draw_is_what_sorting_each_cluster_gives(seed: int, strategy: str) -> None:
    rng = np.random.default_rng(seed)
    n, k = int(rng.integers(1, 400)), int(rng.integers(1, 40))
    clusters = (k * rng.random(n) ** 4).astype(np.int32)
    quotas = np.minimum(np.bincount(clusters, minlength=k), rng.integers(0, 12, k))
    distances = np.round(rng.random(n).astype(np.float32), 1)  # ties go by row number
    priorities = keyed_priorities(np.arange(n), seed, Purpose.DRAW) if strategy == "random" else distances
    expected = []
    for cluster in range(k):
        rows = sorted(np.flatnonzero(clusters == cluster).tolist(), key=lambda row: (priorities[row], row))
        expected += rows[: quotas[cluster]]
    assert draw(clusters, priorities, quotas).tolist() == sorted(expected)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(drawing, "sorted_blocks", partial(sorted_blocks, block_rows=9))
        assert draw(clusters, priorities, quotas).tolist() == sorted(expected)
