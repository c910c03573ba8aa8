"""A whole fit through the kernels, with the CPU's bytes."""

from __future__ import annotations

import numpy as np
import pytest

from curation_assets.algorithms.kmeans.fit import KMeansFit, fit_kmeans
from curation_assets.algorithms.kmeans.tiles import TiledRows
from curation_assets.algorithms.search import choose
from curation_assets.algorithms.search.cuda.search import CudaCentroids
from curation_assets_tests.algorithms.search.cuda.kernels_here import (
    device_of_kernels,
    use_kernels,
    use_small_searches,
)
from curation_assets_tests.algorithms.small_fits import blobs, prepared


def fit(metric: str, resident_bytes: int) -> KMeansFit:
    rows = TiledRows(prepared(blobs(0, n=70), metric), "cpu", resident_bytes=resident_bytes)
    rng = np.random.default_rng(0)
    return fit_kmeans(rows, 6, metric=metric, rng=rng, max_iterations=2, n_local_trials=1)  # type: ignore[arg-type]


@pytest.mark.parametrize(("metric", "resident_bytes"), [("cosine", 2**20), ("l2", 0)])
def test_fits_have_the_bytes_of_the_cpu(
    metric: str, resident_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = fit(metric, resident_bytes)
    device_of_kernels()
    use_small_searches(monkeypatch)
    use_kernels(monkeypatch)
    monkeypatch.setattr(choose, "_pays_for_kernels", lambda *_: True)
    searches = []
    monkeypatch.setattr(choose, "CudaCentroids", lambda book: searches.append(book) or CudaCentroids(book))
    found = fit(metric, resident_bytes)
    assert searches
    assert np.array_equal(found.assignments, expected.assignments)
    assert np.array_equal(found.distances, expected.distances)
    assert found.centroids.tobytes() == expected.centroids.tobytes()
    assert found.inertias == expected.inertias
