"""Drift figures, worked by hand, and what chance alone explains."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.algorithms.drift import FitDistribution, drift_level, expected_mass_shift, measure_drift

FIT = FitDistribution(n_rows=1000, mean_distance=0.4, radius=0.6, mass=np.array([0.5, 0.5, 0.0]))


def test_figures_by_hand() -> None:
    # Mean 0.5 is half-way from the fit's mean to its radius; one row of four lies beyond; all rows are in a
    # cluster that held none, where chance explains sqrt(2 * 0.25 / (4 pi)) = 0.1995 of a share moved.
    drift = measure_drift(np.array([0.45, 0.45, 0.45, 0.65]), np.array([2, 2, 2, 2]), FIT)
    assert drift.n_rows == 4
    assert drift.mean_distance == pytest.approx(0.5)
    assert drift.distance_shift == pytest.approx(0.5)
    assert drift.beyond_radius_share == 0.25
    assert expected_mass_shift(FIT.mass, 4) == pytest.approx(0.19947, abs=1e-5)
    assert drift.mass_shift == 1.0
    assert drift.score == 1.0


def test_a_closer_shard_does_not_drift_and_an_empty_one_neither() -> None:
    drift = measure_drift(np.array([0.1, 0.2]), np.array([0, 1]), FIT)
    assert (drift.distance_shift, drift.beyond_radius_share, drift.mass_shift, drift.score) == (0, 0, 0, 0)
    assert measure_drift(np.empty(0), np.empty(0, dtype=int), FIT).score == 0


def test_a_fit_without_spread() -> None:
    fit = FitDistribution.of(np.zeros(5), np.zeros(5, dtype=int), 1)
    assert (fit.mean_distance, fit.radius) == (0, 0)
    assert measure_drift(np.zeros(3), np.zeros(3, dtype=int), fit).score == 0
    assert measure_drift(np.ones(3), np.zeros(3, dtype=int), fit).score == 1
    with pytest.raises(ValueError, match="distances is empty"):
        FitDistribution.of(np.empty(0), np.empty(0, dtype=int), 3)


def test_the_fit_is_measured_as_it_is() -> None:
    rng = np.random.default_rng(0)
    distances, clusters = rng.random(10_000), rng.integers(0, 4, 10_000)
    fit = FitDistribution.of(distances, clusters, 5)
    assert fit.radius == pytest.approx(0.99, abs=0.01)
    assert fit.mass.sum() == pytest.approx(1.0)
    assert fit.mass[4] == 0
    assert np.mean(distances > fit.radius) == pytest.approx(0.01, abs=2e-4)


@given(st.integers(0, 2**32 - 1), st.sampled_from([16, 64, 500]))
def test_rows_drawn_from_the_fit_score_low_and_figures_stay_in_range(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    distances, clusters = rng.normal(0.5, 0.1, 20_000), rng.integers(0, 12, 20_000)
    fit = FitDistribution.of(distances, clusters, 12)
    rows = rng.integers(0, 20_000, n)
    drift = measure_drift(distances[rows], clusters[rows], fit)
    assert 0 <= drift.mass_shift <= 1
    assert 0 <= drift.score < 0.5


def test_drift_is_measured_where_clusters_hold_many_rows() -> None:
    assert drift_level(4495, [1000, 300, 100, 30]) == 3
    assert drift_level(1_000_000, [1000, 300]) == 1
    assert drift_level(60, [30, 10]) == 2
