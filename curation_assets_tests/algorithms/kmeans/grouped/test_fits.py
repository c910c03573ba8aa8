"""Fits that advance together have the bytes that each has by itself on the CPU."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.algorithms import LevelSpec
from curation_assets.algorithms.hierarchy import LevelFitter
from curation_assets.algorithms.kmeans.fit import KMeansFit, fit_kmeans
from curation_assets.algorithms.kmeans.grouped import choice, fits, lloyd
from curation_assets.algorithms.kmeans.grouped.choice import which_together
from curation_assets.algorithms.kmeans.grouped.fits import fit_together
from curation_assets.algorithms.preprocessing import PreparedRows, fit_preprocessing
from curation_assets.algorithms.rows import ArrayRows
from curation_assets.algorithms.search.cuda import grouped_launches
from curation_assets.algorithms.settings import Metric
from curation_assets.algorithms.splitting import split_bucket
from curation_assets_tests.algorithms.search.cuda.counted_waits import counted
from curation_assets_tests.algorithms.search.cuda.kernels_here import (
    device_of_kernels,
    use_kernels,
    use_small_searches,
)
from curation_assets_tests.algorithms.small_fits import blobs, prepared

METRICS: tuple[Metric, ...] = ("cosine", "l2")


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> str:
    """The device of the kernels, which here serve the CPU."""
    device = device_of_kernels()
    use_small_searches(monkeypatch)
    return device.type


def rows_of(metric: Metric, n: int, seed: int = 0) -> np.ndarray:
    return prepared(blobs(seed, n=n), metric).read(0, n)


def by_itself(
    x: np.ndarray, bounds: np.ndarray, ks: np.ndarray, metric: Metric, **options: int | float | str
) -> list[KMeansFit]:
    return [
        fit_kmeans(
            ArrayRows(x[bounds[i] : bounds[i + 1]]), int(ks[i]), metric=metric, rng=np.random.default_rng(i),
            **options,  # type: ignore[arg-type]
        )
        for i in range(len(ks))
    ]  # fmt: skip


def together(
    x: np.ndarray,
    bounds: np.ndarray,
    ks: np.ndarray,
    metric: Metric,
    device: str,
    **options: int | float | str,
) -> list[KMeansFit]:
    rngs = [np.random.default_rng(i) for i in range(len(ks))]
    block = torch.from_numpy(x).to(device)
    return fit_together(block, bounds, ks, metric=metric, rngs=rngs, **options)  # type: ignore[arg-type]


def assert_same(found: list[KMeansFit], expected: list[KMeansFit]) -> None:
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.inertias == theirs.inertias
        assert mine.centroids.tobytes() == theirs.centroids.tobytes()
        assert mine.assignments.tolist() == theirs.assignments.tolist()
        assert mine.distances.tobytes() == theirs.distances.tobytes()


@pytest.mark.parametrize(("metric", "n_local_trials"), [("cosine", "auto"), ("l2", "auto"), ("l2", 1)])
def test_fits_have_the_bytes_of_each_by_itself(
    metric: Metric, n_local_trials: int | Literal["auto"], kernels: str
) -> None:
    x = rows_of(metric, 120)
    # Copies: fewer different rows than seeds, a single one, and a group whose every row is a seed.
    x[60:70], x[100:] = x[60], x[100]
    bounds, ks = np.array([0, 50, 60, 95, 100, 120]), np.array([6, 10, 4, 1, 5])
    options = {"n_local_trials": n_local_trials, "max_iterations": 6}
    expected = by_itself(x, bounds, ks, metric, **options)
    assert len({len(fit.inertias) for fit in expected}) > 1, "all fits end at once"
    assert_same(together(x, bounds, ks, metric, kernels, **options), expected)


def test_blocks_of_rows_that_are_summed_up_are_those_of_one_fit(
    kernels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kernels == "cpu":
        # Few programs for the interpreter.
        monkeypatch.setattr(grouped_launches, "TILE_ROWS", 512)
        monkeypatch.setattr(grouped_launches, "_DECIDED_ROWS", 512)
    # More than a block of 1,024 rows, and several rounds of proposals.
    x = rows_of("l2", 1400)
    bounds, ks = np.array([0, 1300, 1400]), np.array([30, 20])
    options = {"n_local_trials": 1, "max_iterations": 2}
    assert_same(together(x, bounds, ks, "l2", kernels, **options), by_itself(x, bounds, ks, "l2", **options))


@settings(max_examples=6)
@given(
    st.lists(st.tuples(st.integers(1, 14), st.integers(1, 14)), min_size=1, max_size=4),
    st.sampled_from(METRICS),
    st.sampled_from([1, 2, 5]),
    st.sampled_from([1, 3]),
    st.integers(0, 99),
)
def test_sizes_ties_and_copies(
    shapes: list[tuple[int, int]], metric: Metric, grain: int, n_local_trials: int, seed: int
) -> None:
    device = device_of_kernels()
    sizes = np.array([n for n, _ in shapes])
    ks = np.array([min(n, k) for n, k in shapes])
    # Few different values: copies of rows, and rows as near to one centroid as to another.
    values = np.random.default_rng(seed).integers(-grain, grain + 1, (int(sizes.sum()), 3))
    x = prepared(values.astype(np.float32), metric).read(0, len(values))
    bounds = np.concatenate([[0], np.cumsum(sizes)])
    options = {"n_local_trials": n_local_trials, "max_iterations": 3}
    with pytest.MonkeyPatch.context() as patch:
        use_small_searches(patch)
        found = together(x, bounds, ks, metric, device.type, **options)
    assert_same(found, by_itself(x, bounds, ks, metric, **options))


def test_an_iteration_of_all_fits_waits_for_the_device_once(
    kernels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_kernels(monkeypatch)
    step, waits = lloyd.GroupedLloyd._step, []

    def count(self: lloyd.GroupedLloyd, running: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with counted(monkeypatch) as counts:
            found = step(self, running)
        waits.append(counts)
        return found

    monkeypatch.setattr(lloyd.GroupedLloyd, "_step", count)
    options = {"n_local_trials": 1, "max_iterations": 2}
    together(rows_of("l2", 60), np.array([0, 40, 60]), np.array([4, 3]), "l2", kernels, **options)
    assert [counts.total() for counts in waits] == [1, 1], waits


def test_a_tolerance_ends_each_fit_by_itself(kernels: str) -> None:
    x = rows_of("l2", 90)
    bounds, ks = np.array([0, 60, 90]), np.array([5, 3])
    options = {"n_local_trials": 1, "tolerance": 0.05}
    expected = by_itself(x, bounds, ks, "l2", **options)
    assert_same(together(x, bounds, ks, "l2", kernels, **options), expected)


def test_rows_beyond_the_range_are_fitted_one_by_one(kernels: str) -> None:
    x = rows_of("l2", 24)
    x *= np.float32(2.0**60)
    bounds, ks = np.array([0, 12, 24]), np.array([2, 3])
    assert_same(together(x, bounds, ks, "l2", kernels), by_itself(x, bounds, ks, "l2"))


@pytest.mark.parametrize("k", [0, 6])
def test_impossible_numbers_are_refused(k: int) -> None:
    with pytest.raises(ValueError, match=rf"group 1 is {k}, but it has 5 rows: use a value from 1 to 5"):
        together(rows_of("l2", 10), np.array([0, 5, 10]), np.array([2, k]), "l2", "cpu")


def test_a_split_level_is_the_same_with_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    device_of_kernels()
    inputs = prepared(blobs(3, n=160), "cosine")
    spec = LevelSpec(n_clusters=20, n_coarse_clusters=5, max_iterations=3)
    fitter = LevelFitter(level=1, spec=spec, metric="cosine", seed=3)
    expected = fitter.fit_initial(inputs)
    use_small_searches(monkeypatch)
    use_kernels(monkeypatch)
    calls = []

    def count(*arguments: object, **options: object) -> list[KMeansFit]:
        found = fit_together(*arguments, **options)  # type: ignore[arg-type]
        calls.append(len(found))
        return found

    monkeypatch.setattr(fits, "fit_together", count)
    # Two or three coarse clusters at a time.
    monkeypatch.setattr(fits, "_MOST_VALUES", 64 * 90)
    level = fitter.fit_initial(inputs)
    assert sum(calls) == 5
    assert len(calls) > 1
    assert level.centroids.tobytes() == expected.centroids.tobytes()
    assert level.assignments.tolist() == expected.assignments.tolist()
    assert level.distances.tobytes() == expected.distances.tobytes()


def test_buckets_of_stored_rows_are_prepared_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    device_of_kernels()
    source = ArrayRows(blobs(5, n=90).astype(np.float16))
    rows = PreparedRows(source, fit_preprocessing(source, metric="cosine", centring=True))
    spec = LevelSpec(n_clusters=12, n_coarse_clusters=3, max_iterations=2, n_local_trials=1)
    fitter = LevelFitter(level=1, spec=spec, metric="cosine", seed=1)
    of_row = np.random.default_rng(0).integers(0, 3, 90)
    expected = split_bucket(rows, of_row, 4, fitter.fit_cluster)
    use_small_searches(monkeypatch)
    use_kernels(monkeypatch)
    found = split_bucket(rows, of_row, 4, fitter.fit_cluster, together=fitter.grouped_fits)
    assert found.centroids.tobytes() == expected.centroids.tobytes()
    assert found.assignments.tolist() == expected.assignments.tolist()
    assert found.distances.tobytes() == expected.distances.tobytes()


def test_large_fits_and_long_greedy_searches_go_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, ks = np.array([1000, 10_000, 10**7, 2000]), np.array([100, 100, 100, 20_000])

    def chosen(n_local_trials: int | Literal["auto"], device: str = "cpu") -> list[bool]:
        return which_together(sizes, ks, 384, n_local_trials=n_local_trials, device=device).tolist()

    assert chosen("auto") == [False] * 4
    use_kernels(monkeypatch)
    assert chosen("auto") == [True, True, False, False]
    # Several candidates for each seed, in more rows than the CPU adds up sooner: one fit is not enough.
    assert chosen(4) == [False] * 4
    monkeypatch.setattr(choice, "GREEDY_LIMIT", 10**9)
    assert chosen(4) == [True, True, False, False]
