"""What only a card can show: real sizes, and how often it is waited for."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from curation_assets.algorithms import LevelSpec, fit_hierarchy
from curation_assets.algorithms.kmeans import thinning
from curation_assets.algorithms.kmeans.fit import fit_kmeans
from curation_assets.algorithms.kmeans.grouped import lloyd
from curation_assets.algorithms.kmeans.grouped.fits import fit_together
from curation_assets.algorithms.rows import ArrayRows
from curation_assets.algorithms.search.cuda.presence import runs_kernels
from curation_assets.algorithms.search.groups import assign_inside
from curation_assets.algorithms.settings import Metric
from curation_assets_tests.algorithms.search.cuda.kernels_here import device_of_kernels
from curation_assets_tests.algorithms.small_fits import blobs, prepared

pytestmark = [pytest.mark.gpu]


@pytest.fixture(autouse=True)
def _on_card() -> None:
    device = device_of_kernels()
    if device.type != "cuda" or not runs_kernels(device):
        pytest.skip("needs a card")


@pytest.mark.parametrize("metric", ["cosine", "l2"])
@pytest.mark.parametrize("dimension", [3, 130, 384, 1000])
def test_fits_have_the_bytes_of_each_by_itself_on_the_cpu(dimension: int, metric: Metric) -> None:
    # Greedy and batched seeds, one tile of centroids and several, fewer rows than a tile, and copies.
    sizes, ks = np.array([1000, 3000, 40, 700, 2500, 1]), np.array([100, 150, 40, 1, 20, 1])
    bounds = np.concatenate([[0], np.cumsum(sizes)])
    x = prepared(blobs(0, n=int(bounds[-1]), d=dimension), metric).read(0, int(bounds[-1]))
    x[4100:4400] = x[4100]
    for n_local_trials in ("auto", 1, 5):
        options = {"metric": metric, "n_local_trials": n_local_trials, "max_iterations": 12}
        rngs = [np.random.default_rng(i) for i in range(len(ks))]
        found = fit_together(torch.from_numpy(x).cuda(), bounds, ks, rngs=rngs, **options)  # type: ignore[arg-type]
        for i, mine in enumerate(found):
            rows, rng = ArrayRows(x[bounds[i] : bounds[i + 1]]), np.random.default_rng(i)
            theirs = fit_kmeans(rows, int(ks[i]), rng=rng, **options)  # type: ignore[arg-type]
            assert mine.inertias == theirs.inertias
            assert mine.centroids.tobytes() == theirs.centroids.tobytes()
            assert np.array_equal(mine.assignments, theirs.assignments)
            assert mine.distances.tobytes() == theirs.distances.tobytes()


def test_a_split_level_and_new_rows_are_the_same_as_on_the_cpu() -> None:
    x = blobs(1, n=20_000, d=96).astype(np.float16)
    spec = LevelSpec(n_clusters=2000, n_coarse_clusters=20)
    trees = [fit_hierarchy(x, [spec], seed=1, device=device) for device in ("cpu", "cuda")]
    levels = [tree.levels[0] for tree in trees]
    assert levels[0].centroids.tobytes() == levels[1].centroids.tobytes()
    assert np.array_equal(levels[0].assignments, levels[1].assignments)
    assert np.array_equal(levels[0].distances, levels[1].distances)
    coarse = levels[0].coarse
    assert coarse is not None
    bounds = np.searchsorted(coarse.of_cluster, np.arange(len(coarse.centroids) + 1))
    block = trees[0].preprocessing.apply(x)
    of_row = coarse.of_cluster[levels[0].assignments]
    clusters, distances = assign_inside(
        block, of_row, levels[0].centroids, bounds, metric="cosine", device="cuda"
    )
    assert np.array_equal(clusters, levels[0].assignments)
    assert np.array_equal(distances, levels[0].distances)


def test_proposals_that_are_kept_are_those_of_the_cpu() -> None:
    points = torch.from_numpy(blobs(2, n=4096, d=384).astype(np.float32))
    stale = np.random.default_rng(0).uniform(300, 900, 4096)
    kept = [
        thinning.accepted(points, stale, np.random.default_rng(1), 2000, device=device).tolist()
        for device in ("cpu", "cuda")
    ]
    assert 100 < len(kept[0]) < 4096
    assert kept[0] == kept[1]


def test_an_iteration_of_all_fits_waits_for_the_card_a_handful_of_times(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x = prepared(blobs(0, n=20_000, d=200), "l2").read(0, 20_000)
    bounds = np.arange(0, 20_001, 500)
    ks, rngs = np.full(40, 30), [np.random.default_rng(i) for i in range(40)]
    step, counts = lloyd.GroupedLloyd._step, []

    def count(self: lloyd.GroupedLloyd, running: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                return step(self, running)
            finally:
                torch.cuda.set_sync_debug_mode("default")
                counts.append(sum("synchroniz" in str(warning.message) for warning in caught))

    monkeypatch.setattr(lloyd.GroupedLloyd, "_step", count)
    fit_together(torch.from_numpy(x).cuda(), bounds, ks, metric="l2", rngs=rngs, max_iterations=4)
    assert max(counts) <= 3
