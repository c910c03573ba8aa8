"""Rows held by many workers: the same fit to the last bit, whoever holds them and whoever is lost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.algorithms.hierarchy import LevelFitter, LevelSpec
from curation_assets.algorithms.kmeans import row_worker
from curation_assets.algorithms.kmeans.fit import fit_inputs
from curation_assets.algorithms.kmeans.inputs import FitInputs
from curation_assets.algorithms.kmeans.tiles import TiledRows
from curation_assets.algorithms.search.choose import Choice
from curation_assets.algorithms.settings import Metric
from curation_assets_tests.algorithms.small_fits import CHOICES, blobs, prepared
from curation_assets_tests.algorithms.small_pools import shared_out


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_worker, "BLOCK_ROWS", 64)


def whole_fit(inputs: FitInputs, k: int, seed: int) -> tuple[bytes, ...]:
    fit = fit_inputs(inputs, k, rng=np.random.default_rng(seed), n_local_trials=1, tolerance=0.0)
    assignments, distances = inputs.result()
    return fit.centroids.tobytes(), repr(fit.inertias).encode(), assignments.tobytes(), distances.tobytes()


@settings(max_examples=12, deadline=None)
@given(
    st.integers(0, 1000),
    st.sampled_from([1, 2, 3, 5]),
    st.sampled_from(["l2", "cosine"]),
    st.sampled_from(list(CHOICES.values())),
)
def test_workers_lost_or_not_do_not_matter(seed: int, n_workers: int, metric: Metric, choice: Choice) -> None:
    rows = prepared(blobs(seed, n=1000), metric)
    plain = TiledRows(rows, "cpu", choice=CHOICES["plain"])
    expected = whole_fit(FitInputs.in_process(plain, metric), 40, seed)
    inputs, pool = shared_out(rows, metric, n_workers, loses=0.2, seed=seed, choice=choice)
    assert whole_fit(inputs, 40, seed) == expected
    assert pool.n_lost


@pytest.mark.parametrize("n_workers", [2, 3, 30])
def test_a_level_with_resampling_is_the_same(n_workers: int) -> None:
    rows = prepared(blobs(3, n=1500), "cosine")
    spec = LevelSpec(n_clusters=60, resampling_steps=3, n_local_trials=1)
    fitter = LevelFitter(level=1, spec=spec, metric="cosine", seed=4)
    alone, shared = fitter.fit(rows), fitter.fit(shared_out(rows, "cosine", n_workers, loses=0.1)[0])
    assert alone.centroids.tobytes() == shared.centroids.tobytes()
    assert alone.assignments.tobytes() == shared.assignments.tobytes()
    assert alone.distances.tobytes() == shared.distances.tobytes()
    assert alone.inertias == shared.inertias


def test_a_greedy_search_gathers_the_rows() -> None:
    rows = prepared(blobs(2, n=400))
    spec = LevelSpec(n_clusters=20, resampling_steps=1, n_local_trials=4)
    fitter = LevelFitter(level=1, spec=spec, metric="l2", seed=0)
    shared = fitter.fit(shared_out(rows, "l2", 3)[0])
    assert fitter.fit(rows).centroids.tobytes() == shared.centroids.tobytes()


def test_rows_come_in_the_order_they_are_asked_for() -> None:
    rows = prepared(np.arange(300.0)[:, None])
    inputs, _ = shared_out(rows, "l2", 3)
    numbers = np.array([299, 0, 64, 63, 0])
    assert inputs.take(numbers)[:, 0].tolist() == numbers.tolist()
    inputs.select(np.array([5, 70, 280]), np.array([1, 2, 3]))
    assert (inputs.n_inputs, inputs.n_rows) == (300, 3)
    assert inputs.take(np.array([2, 0, 1]))[:, 0].tolist() == [280, 5, 70]


def test_rows_are_drawn_by_the_mass_of_their_blocks() -> None:
    inputs, _ = shared_out(prepared(np.arange(300.0)[:, None]), "l2", 2)
    inputs.select(np.array([0, 1, 200, 201]))
    first = inputs.take(np.array([0]))
    masses = inputs.add_seeds(first, first)
    # Squared distances to row 0 are 0 and 1 in one block, 40,000 and 40,401 in another.
    assert [mass.tolist() for mass in masses] == [[1.0], [80401.0]]
    shares = np.array([0.0, 0.9, 2 / 80402, 0.99999])
    rows, squared, points = inputs.draw(masses, shares)
    assert rows.tolist() == [1, 3, 2, 3]
    assert squared.tolist() == [1, 40401, 40000, 40401]
    assert points[:, 0].tolist() == [1, 201, 200, 201]
