"""Distances between a sample and a subset, compared with all pairs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.algorithms.measures.distances import SampleNeighbours, subset_distances
from curation_assets.algorithms.settings import Metric


def test_points_on_a_line() -> None:
    sample = torch.tensor([[0.0], [1.0], [5.0]])
    subset = np.array([[0.0], [4.0]], dtype=np.float32)
    to_nearest, second = subset_distances(sample, subset, metric="l2", rank=2)
    assert to_nearest.tolist() == [0, 1, 1]
    # The row that is in the sample is its own first neighbour.
    assert second.tolist() == [1, 3]


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 12), st.sampled_from(["cosine", "l2"]))
@settings(max_examples=40, deadline=None)
def test_distances_are_those_of_all_pairs(n: int, m: int, rank: int, metric: Metric) -> None:
    rng = np.random.default_rng(n * 31 + m)
    sample, subset = (rng.normal(size=(size, 5)).astype(np.float32) for size in (n, m))
    if metric == "cosine":
        sample, subset = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (sample, subset))
    squared = ((sample[:, None].astype(np.float64) - subset[None]) ** 2).sum(axis=-1)
    every = squared / 2 if metric == "cosine" else np.sqrt(squared)
    for block_bytes in (1, 2**20):
        to_nearest, at_rank = subset_distances(
            torch.from_numpy(sample), subset, metric=metric, rank=rank, block_bytes=block_bytes
        )
        assert to_nearest == pytest.approx(every.min(axis=1), rel=1e-6, abs=1e-9)
        assert at_rank == pytest.approx(np.sort(every, axis=0)[min(rank, n) - 1], rel=1e-6, abs=1e-9)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 12), st.sampled_from(["cosine", "l2"]))
@settings(max_examples=40, deadline=None)
def test_known_neighbours_give_the_same_distances(n: int, m: int, n_listed: int, metric: Metric) -> None:
    rng = np.random.default_rng(n * 41 + m)
    sample = rng.normal(size=(n, 5)).astype(np.float32)
    if metric == "cosine":
        sample /= np.linalg.norm(sample, axis=1, keepdims=True)
    chosen = rng.choice(n, min(m, n), replace=False)
    rank = min(n_listed, 10)
    searched = subset_distances(torch.from_numpy(sample), sample[chosen], metric=metric, rank=rank)
    neighbours = SampleNeighbours.of(sample, metric=metric, n_listed=n_listed)
    assert neighbours.columns.shape == (n, min(n, n_listed))
    for known, found in zip(neighbours.subset_distances(chosen, rank=rank), searched, strict=True):
        assert known == pytest.approx(found, rel=1e-6, abs=1e-12)
