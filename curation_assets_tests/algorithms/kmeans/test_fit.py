"""k-means: hand-worked cases, exact assignments, and what must not matter."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.algorithms import rows
from curation_assets.algorithms.kmeans.fit import fit_kmeans
from curation_assets.algorithms.kmeans.tiles import TiledRows
from curation_assets_tests.algorithms.small_fits import CHOICES, blobs, prepared


def test_two_groups_on_a_line() -> None:
    x = np.array([[0.0], [1.0], [2.0], [10.0], [11.0], [12.0]])
    fit = fit_kmeans(prepared(x), 2, metric="l2", rng=np.random.default_rng(0))
    assert sorted(fit.centroids[:, 0].tolist()) == [1.0, 11.0]
    assert fit.inertias[-1] == pytest.approx(4.0)
    assert fit.sizes.tolist() == [3, 3]
    assert sorted(fit.distances.tolist()) == [0, 0, 1, 1, 1, 1]


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000), st.sampled_from(["l2", "cosine"]))
def test_inertia_never_rises_and_assignments_are_nearest(seed: int, metric: str) -> None:
    inputs = prepared(blobs(seed), metric)
    fit = fit_kmeans(inputs, 30, metric=metric, rng=np.random.default_rng(seed), tolerance=0.0)  # type: ignore[arg-type]
    assert all(b <= a * (1 + 1e-12) for a, b in zip(fit.inertias, fit.inertias[1:], strict=False))
    x = inputs.read(0, 600).astype(np.float64)
    squared = ((x[:, None] - fit.centroids.astype(np.float64)) ** 2).sum(-1)
    np.testing.assert_array_equal(fit.assignments, squared.argmin(1))
    if metric == "cosine":
        np.testing.assert_allclose(np.linalg.norm(fit.centroids, axis=1), 1, atol=1e-6)


def test_chunks_residency_and_threads_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = prepared(blobs(5, n=3000, d=16), "cosine")

    def fit(tiled: TiledRows) -> tuple[bytes, bytes]:
        result = fit_kmeans(tiled, 150, metric="cosine", rng=np.random.default_rng(1), n_local_trials=1)
        return result.centroids.tobytes(), result.assignments.tobytes()

    whole = fit(TiledRows(inputs, "cpu", choice=CHOICES["plain"]))
    monkeypatch.setattr(rows.chunk_bounds, "__defaults__", (4 * 16 * 101,))
    threads = torch.get_num_threads()
    for n_threads in (1, 2):
        torch.set_num_threads(n_threads)
        for choice in CHOICES.values():
            assert fit(TiledRows(inputs, "cpu", resident_bytes=0, choice=choice)) == whole
            assert fit(TiledRows(inputs, "cpu", choice=choice)) == whole
    torch.set_num_threads(threads)


def test_a_weight_counts_as_copies_of_the_row() -> None:
    x = np.array([[0.0], [3.0], [10.0], [11.0]])
    weights = np.array([2, 1, 1, 3])
    fit = fit_kmeans(prepared(x), 2, metric="l2", rng=np.random.default_rng(0), weights=weights)
    assert sorted(fit.centroids[:, 0].tolist()) == [1.0, 10.75]
    assert fit.inertias[-1] == pytest.approx(2 * 1 + 4 + 0.75**2 + 3 * 0.25**2)
