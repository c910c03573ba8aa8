"""Noise of means, and differences that are called clear."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from curation_assets.steps.comparison.estimates import Estimate, difference, t_quantile


@pytest.mark.parametrize(("degrees", "tolerance"), [(3, 0.01), (4, 0.004), (8, 0.001), (100, 1e-5)])
def test_the_quantile_is_that_of_the_t_distribution(degrees: int, tolerance: float) -> None:
    assert t_quantile(degrees) == pytest.approx(stats.t.ppf(0.975, degrees), rel=tolerance)


def test_a_difference_has_the_noise_of_welchs_interval() -> None:
    # Standard error sqrt(4 / 5 + 9 / 100) = 0.943; Welch's degrees of freedom: 0.89^2 / (0.8^2 / 4 + 0.09^2 / 99).
    found = difference(Estimate(55.0, 2.0, 5), Estimate(50.0, 3.0, 100))
    degrees = 0.89**2 / (0.8**2 / 4 + 0.09**2 / 99)
    assert found.relative == pytest.approx(0.1)
    assert found.noise == pytest.approx(stats.t.ppf(0.975, degrees) * math.sqrt(0.89) / 50, rel=0.003)
    assert found.is_clear


def test_a_single_draw_has_the_spread_of_the_other_subset() -> None:
    single, many = Estimate(55.0, None, 1), Estimate(50.0, 3.0, 100)
    noise = stats.t.ppf(0.975, 99) * 3 * math.sqrt(1 + 1 / 100) / 50
    assert difference(single, many).noise == pytest.approx(noise, rel=0.02)
    assert not difference(single, many).is_clear
    assert difference(Estimate(58.0, None, 1), many).is_clear
    assert not difference(single, Estimate(1.0, None, 1)).is_clear, "nothing is known of the noise"


def test_figures_without_noise_differ_clearly_if_at_all() -> None:
    assert difference(Estimate(3.0, 0.0, 5), Estimate(2.0, 0.0, 5)).is_clear
    assert not difference(Estimate(2.0, 0.0, 5), Estimate(2.0, 0.0, 5)).is_clear
    assert not difference(Estimate(0.0, 0.0, 5), Estimate(0.0, 0.0, 5)).is_clear


@pytest.mark.parametrize("n_draws", [1, 5])
def test_of_equal_subsets_one_is_called_better_in_a_fortieth_of_cases(n_draws: int) -> None:
    rng = np.random.default_rng(0)
    better = 0
    for _ in range(4_000):
        values, baseline = rng.normal(50, 3, n_draws), rng.normal(50, 3, 100)
        spread = float(values.std(ddof=1)) if n_draws > 1 else None
        found = difference(
            Estimate(float(values.mean()), spread, n_draws),
            Estimate(float(baseline.mean()), float(baseline.std(ddof=1)), 100),
        )
        better += found.is_clear and found.relative > 0
    assert 0.015 < better / 4_000 < 0.035
