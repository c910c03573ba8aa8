"""A whole fit through the kernels, with the CPU's bytes."""

from __future__ import annotations

import numpy as np
import pytest

from curation_assets.algorithms.kmeans import uploads
from curation_assets.algorithms.kmeans.assigning import assign_tiles, pays_for_tiles
from curation_assets.algorithms.kmeans.fit import KMeansFit, fit_kmeans
from curation_assets.algorithms.kmeans.row_worker import RowsPart
from curation_assets.algorithms.kmeans.tiles import TiledRows
from curation_assets.algorithms.rows import Rows
from curation_assets.algorithms.search import choose
from curation_assets.algorithms.search.assigner import Assigner
from curation_assets.algorithms.search.cuda.compact import CompactBlock, compact_row_bytes
from curation_assets.algorithms.search.cuda.search import CudaCentroids
from curation_assets_tests.algorithms.search.cuda.kernels_here import (
    device_of_kernels,
    use_kernels,
    use_small_searches,
)
from curation_assets_tests.algorithms.search.cuda.stored_cases import prepared_rows
from curation_assets_tests.algorithms.small_fits import blobs, prepared

N_ROWS = 70


def stored(metric: str, centring: bool) -> Rows:
    return prepared_rows(blobs(0, n=N_ROWS).astype(np.float16), metric, centring)


def fit(rows: Rows, metric: str, resident_bytes: int) -> tuple[TiledRows, KMeansFit]:
    tiled = TiledRows(rows, "cpu", resident_bytes=resident_bytes, chunk_bytes=4 * 6 * 20)
    rng = np.random.default_rng(0)
    return tiled, fit_kmeans(tiled, 6, metric=metric, rng=rng, max_iterations=2, n_local_trials=1)  # type: ignore[arg-type]


def assert_same(found: KMeansFit, expected: KMeansFit) -> None:
    assert np.array_equal(found.assignments, expected.assignments)
    assert np.array_equal(found.distances, expected.distances)
    assert found.centroids.tobytes() == expected.centroids.tobytes()
    assert found.inertias == expected.inertias


def turn_to_kernels(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Let the kernels serve every search from now on; returns where those are noted."""
    device_of_kernels()
    use_small_searches(monkeypatch)
    use_kernels(monkeypatch)
    monkeypatch.setattr(choose, "_pays_for_kernels", lambda *_: True)
    searches: list[object] = []
    monkeypatch.setattr(choose, "CudaCentroids", lambda book: searches.append(book) or CudaCentroids(book))
    return searches


@pytest.mark.parametrize(("metric", "resident_bytes"), [("cosine", 2**20), ("l2", 0)])
def test_fits_have_the_bytes_of_the_cpu(
    metric: str, resident_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = prepared(blobs(0, n=N_ROWS), metric)
    _, expected = fit(rows, metric, resident_bytes)
    searches = turn_to_kernels(monkeypatch)
    tiled, found = fit(rows, metric, resident_bytes)
    assert searches
    assert tiled.stored is None, "float32 rows are held as they are"
    assert_same(found, expected)


@pytest.mark.parametrize(("metric", "centring"), [("cosine", True), ("l2", False)])
def test_rows_as_they_are_stored_have_the_bytes_of_the_cpu(
    metric: str, centring: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = stored(metric, centring)
    _, expected = fit(rows, metric, 2**20)
    turn_to_kernels(monkeypatch)
    # Tiles of 33 rows in pieces of 20.
    monkeypatch.setattr(uploads, "TILE_BYTES", 33 * 2 * 64)
    room = N_ROWS * compact_row_bytes(6, is_centred=centring)
    resident, found = fit(rows, metric, room)
    assert isinstance(resident.resident, CompactBlock)
    assert_same(found, expected)
    streamed, found = fit(rows, metric, room - 1)
    assert not streamed.is_resident
    assert [len(block) for _, block in streamed.tiles(50)] == [33, 33, 4]
    assert all(isinstance(block, CompactBlock) for _, block in streamed.tiles(50))
    assert_same(found, expected)


@pytest.mark.parametrize("n_rows", [0, 70])
def test_rows_of_shards_are_assigned_as_on_the_cpu(n_rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = stored("cosine", centring=True)
    part = RowsPart(rows, 0, n_rows)
    centroids = rows.take(np.arange(9))
    expected = Assigner(centroids, metric="cosine").assign(part.read(0, n_rows))
    assert not pays_for_tiles("cpu"), "the CPU prepares chunks"
    turn_to_kernels(monkeypatch)
    assert pays_for_tiles("cpu")
    monkeypatch.setattr(uploads, "TILE_BYTES", 33 * 2 * 64)
    found = assign_tiles(part, Assigner(centroids, metric="cosine"), "cpu")
    assert [values.tobytes() for values in found] == [values.tobytes() for values in expected]


@pytest.mark.parametrize("room", [0, 10_000, 10**6])
def test_fits_of_some_rows_have_the_bytes_of_the_cpu(room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = stored("cosine", centring=True)
    numbers = np.arange(0, N_ROWS, 2)

    def of_some() -> tuple[TiledRows, KMeansFit]:
        some = TiledRows(rows, "cpu", resident_bytes=room, chunk_bytes=4 * 6 * 20).subset(numbers)
        rng = np.random.default_rng(0)
        return some, fit_kmeans(some, 4, metric="cosine", rng=rng, max_iterations=2, n_local_trials=1)

    _, expected = of_some()
    turn_to_kernels(monkeypatch)
    some, found = of_some()
    assert some.is_resident == (room > 0)
    assert some.stored is not None
    assert_same(found, expected)
