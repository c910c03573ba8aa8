"""Distances to the seeds so far, and draws by them."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.algorithms.kmeans.seed_distances import SeedDistances, draw_by_mass
from curation_assets.algorithms.kmeans.tiles import TiledRows
from curation_assets.algorithms.search.choose import Choice
from curation_assets_tests.algorithms.small_fits import CHOICES, blobs, prepared


@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 1000),
    st.sampled_from(list(CHOICES.values())),
    st.lists(st.integers(1, 12), min_size=1, max_size=5),
)
def test_every_row_knows_its_nearest_seed(seed: int, choice: Choice, batches: list[int]) -> None:
    rows = prepared(blobs(seed))
    x = rows.read(0, 600)
    seeds = np.random.default_rng(seed).choice(600, sum(batches), replace=False)
    distances = SeedDistances(TiledRows(rows, "cpu", choice=choice), None)
    for batch in np.split(seeds, np.cumsum(batches)[:-1]):
        distances.add(torch.from_numpy(x[batch]))
    expected = ((x[:, None].astype(np.float64) - x[seeds]) ** 2).sum(-1)
    np.testing.assert_array_equal(distances.nearest, expected.argmin(1))
    np.testing.assert_allclose(distances.squared, expected.min(1), rtol=1e-12)


def test_weights_count_as_copies() -> None:
    rows = TiledRows(prepared(np.array([[0.0], [1.0], [3.0]])), "cpu")
    distances = SeedDistances(rows, np.array([1.0, 5.0, 2.0]))
    distances.add(torch.tensor([[0.0]]))
    assert distances.mass().tolist() == [0, 5, 18]


def test_rows_without_mass_are_never_drawn() -> None:
    mass = np.array([0.0, 2.0, 0.0, 1.0, 0.0])
    assert draw_by_mass(mass, np.array([0.0, 1.9, 2.0, 2.9, 3.0, 3.1])).tolist() == [1, 1, 3, 3, 3, 3]
