"""What only a card can show."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from curation_assets.algorithms.kmeans import uploads
from curation_assets.algorithms.kmeans.fit import fit_kmeans
from curation_assets.algorithms.kmeans.inputs import FitInputs
from curation_assets.algorithms.kmeans.tiles import TiledRows
from curation_assets.algorithms.search.base import SearchedRows
from curation_assets.algorithms.search.choose import nearest_centroids
from curation_assets.algorithms.search.codebook import Codebook
from curation_assets.algorithms.search.cuda import launches, row_launches
from curation_assets.algorithms.search.cuda.compact import PIECE, CompactBlock
from curation_assets.algorithms.search.cuda.presence import runs_kernels
from curation_assets.algorithms.search.cuda.rounding import HalfCentroids, HalfRows
from curation_assets.algorithms.search.cuda.search import CudaCentroids
from curation_assets.algorithms.search.cuda.sums import add_rows
from curation_assets.algorithms.search.plain.search import PlainCentroids

from . import reference
from .stored_cases import PREPARATIONS, prepared_rows

pytestmark = [pytest.mark.gpu]


def searched(rows: torch.Tensor) -> SearchedRows:
    return SearchedRows(rows, torch.linalg.vector_norm(rows, dim=1, dtype=torch.float32))


@pytest.fixture(autouse=True)
def _on_card(device: torch.device) -> None:
    if device.type != "cuda" or not runs_kernels(device):
        pytest.skip("needs a card")


@pytest.mark.parametrize("kind", [torch.float16, torch.float32], ids=str)
@pytest.mark.parametrize("dimension", [2, 63, 384, 1000])
@pytest.mark.parametrize("name", reference.CASES)
def test_nearest_centroid_is_exact(
    name: str, dimension: int, kind: torch.dtype, device: torch.device
) -> None:
    rows, centroids = reference.case(name, 20_000, 700, dimension, kind, device)
    found = CudaCentroids(Codebook.of(centroids)).best(searched(rows))
    every = torch.arange(700, device=device)
    checked = torch.arange(0, 20_000, 47, device=device)
    squared = row_launches.pair_squares(
        rows, checked.repeat_interleave(700), centroids, every.repeat(len(checked))
    ).view(-1, 700)
    lowest = torch.where(squared == squared.amin(dim=1, keepdim=True), every, 700).amin(dim=1)
    assert torch.equal(found.column[checked], lowest)
    wide, fixed = rows[checked[:20]].float().cpu().numpy(), centroids.cpu().numpy()
    np.testing.assert_array_equal(squared[:20].cpu().numpy(), reference.squared_distances(wide, fixed))


@pytest.mark.parametrize("tile", launches.TILES, ids=str)
@pytest.mark.parametrize("n_centroids", [1, 5, 129, 1000])
def test_every_tile(
    tile: launches.Tile, n_centroids: int, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launches, "tile_for", lambda *_: tile)
    rows, centroids = reference.case("copies", 3001, n_centroids, 130, torch.float32, device)
    left_out = torch.randint(-1, n_centroids, (3001,), device=device)
    if n_centroids == 1:
        left_out.fill_(-1)
    found = CudaCentroids(Codebook.of(centroids)).best(replace(searched(rows), left_out=left_out))
    column = found.column.cpu().numpy()
    squared = reference.squared_distances(rows.cpu().numpy(), centroids.cpu().numpy())
    out = left_out.cpu().numpy()
    squared[np.flatnonzero(out >= 0), out[out >= 0]] = np.inf
    np.testing.assert_array_equal(column, squared.argmin(axis=1))


@pytest.mark.parametrize("columns", [128, 256])
@pytest.mark.parametrize("is_hopper", [False, True])
def test_tensor_cores_add_up_as_the_bound_presumes(
    is_hopper: bool, columns: int, device: torch.device
) -> None:
    if is_hopper and torch.cuda.get_device_capability(device)[0] != 9:
        pytest.skip("only Hopper is presumed to be so exact")
    # 1 and 31 products of 1.5 units, each cut off at a unit; then the result of each step is cut off at 2^-23.
    unit, n_steps = (2.0**-25, 2) if is_hopper else (2.0**-24, 4)
    values, centroid = torch.zeros(2, 256, PIECE, dtype=torch.float16, device=device)
    values[0, 0], values[0, 1:32] = 1, 1.5 * 2.0**-12
    centroid[0, 0], centroid[0, 1:32] = 1, unit * 2.0**12
    lowest = 1 + 31 * unit - n_steps * 2.0**-23
    ones, numbers = torch.ones(256, device=device), torch.zeros(1, dtype=torch.int64, device=device)
    book = HalfCentroids(centroid, torch.zeros(256, device=device), 256, 1.0, 1.0, 0.0)
    # Half a step of float32 lower.
    threshold = torch.full((256,), np.nextafter(np.float32(lowest), np.float32(0)), device=device)
    words = launches.reach(
        HalfRows(values, ones, 0 * ones, 1.0), book, None, threshold, (numbers, numbers), columns
    )
    assert int(words[0, 0]) == 1
    assert not words[0, 1:].any()


def test_few_waits(device: torch.device) -> None:
    rows, centroids = reference.case("clustered", 50_000, 1000, 384, torch.float16, device)
    search, ready = CudaCentroids(Codebook.of(centroids)), searched(rows)
    ready = replace(ready, view=search.viewer.view(ready.block, ready.norms))
    search.best_two(ready)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            search.best_two(ready)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert sum("synchroniz" in str(warning.message) for warning in caught) <= 5


def test_sums_are_the_same_in_any_order(device: torch.device) -> None:
    rows, _ = reference.case("clustered", 50_000, 10, 300, torch.float16, device)
    clusters = torch.randint(20, (50_000,), device=device) ** 2
    sums, turned = (torch.zeros(400, 300, dtype=torch.float64, device=device) for _ in range(2))
    add_rows(rows, None, clusters, None, sums)
    add_rows(rows.flip(0).contiguous(), None, clusters.flip(0), None, turned)
    expected = torch.zeros_like(sums).index_add_(0, clusters, rows.double())
    assert torch.equal(sums, expected)
    assert torch.equal(turned, expected)


@pytest.mark.parametrize(("metric", "centring"), PREPARATIONS)
@pytest.mark.parametrize("name", ["clustered", "tight", "uneven"])
def test_fits_have_the_bytes_of_the_cpu(name: str, metric: str, centring: bool) -> None:
    rows, _ = reference.case(name, 6000, 400, 200, torch.float16, torch.device("cpu"))
    prepared = prepared_rows(rows.numpy(), metric, centring)
    tiled = [
        TiledRows(prepared, "cpu"),
        TiledRows(prepared, "cuda", resident_bytes=2**30),
        TiledRows(prepared, "cuda", resident_bytes=0, chunk_bytes=4 * 200 * 700),
    ]
    assert isinstance(tiled[1].resident, CompactBlock)
    assert not tiled[2].is_resident
    fits = [
        fit_kmeans(held, 400, metric=metric, rng=np.random.default_rng(0), n_local_trials=1)  # type: ignore[arg-type]
        for held in tiled
    ]
    for found in fits[1:]:
        assert np.array_equal(fits[0].assignments, found.assignments)
        assert np.array_equal(fits[0].distances, found.distances)
        assert fits[0].centroids.tobytes() == found.centroids.tobytes()
        assert fits[0].inertias == found.inertias


def test_streamed_tiles_come_whole_while_others_are_on_their_way(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = np.random.default_rng(0).normal(size=(20_000, 300)).astype(np.float16)
    monkeypatch.setattr(uploads, "TILE_BYTES", 2 * 320 * 1500)
    tiled = TiledRows(
        prepared_rows(stored, "cosine", True), "cuda", resident_bytes=0, chunk_bytes=4 * 300 * 400
    )
    expected = torch.from_numpy(prepared_rows(stored, "cosine", True).read(0, 20_000))
    for _ in range(2):
        parts = []
        for start, block in tiled.tiles(10**6):
            # Work that takes longer than the next copies.
            for _ in range(20):
                part = block.prepared() if isinstance(block, CompactBlock) else block
            parts.append((start, part))
        for start, part in parts:
            assert torch.equal(part.cpu(), expected[start : start + len(part)])


def test_few_waits_in_an_iteration(device: torch.device) -> None:
    rows, _ = reference.case("clustered", 50_000, 10, 384, torch.float16, torch.device("cpu"))
    tiled = TiledRows(prepared_rows(rows.numpy(), "cosine", False), str(device), resident_bytes=2**30)
    inputs = FitInputs.in_process(tiled, "cosine", device=str(device))
    sums = inputs.begin(tiled.take(np.arange(1000)).cpu().numpy(), at_seeds=False)
    inputs.step(sums)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            inputs.step(sums)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert sum("synchroniz" in str(warning.message) for warning in caught) <= 30


def test_the_card_chooses_the_kernels_where_they_pay(device: torch.device) -> None:
    book = Codebook.of(torch.rand(100, 20, device=device))
    assert isinstance(nearest_centroids(book, 10_000), CudaCentroids)
    assert isinstance(nearest_centroids(book, 100), PlainCentroids)
