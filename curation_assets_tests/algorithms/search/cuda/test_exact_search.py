from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from curation_assets.algorithms.search.base import SearchedRows
from curation_assets.algorithms.search.codebook import Codebook
from curation_assets.algorithms.search.cuda import launches, search
from curation_assets.algorithms.search.cuda.launches import Tile
from curation_assets.algorithms.search.cuda.rounding import HalfCentroids, HalfRows, ScoreError, row_bytes
from curation_assets.algorithms.search.cuda.search import CudaCentroids
from curation_assets.algorithms.search.plain.search import PlainCentroids
from curation_assets_tests.algorithms.search.cuda.kernels_here import SMALL_TILE, use_small_searches

from . import reference

pytestmark = [pytest.mark.kernel]


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch, device: torch.device) -> None:
    """Several tiles of rows and columns in small inputs; on a card its own tiles."""
    if device.type == "cpu":
        use_small_searches(monkeypatch)


def found_by(rows: torch.Tensor, centroids: torch.Tensor, **options: torch.Tensor) -> tuple[np.ndarray, ...]:
    searched = SearchedRows(rows, torch.linalg.vector_norm(rows.float(), dim=1), **options)
    found = CudaCentroids(Codebook.of(centroids)).best_two(searched)
    return tuple(values.cpu().numpy() for values in (found.column, found.score, found.others))


def half_centroids(centroids: torch.Tensor) -> HalfCentroids:
    book = Codebook.of(centroids)
    return HalfCentroids.of(book.centroids, book.bias, book.largest_norm)


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("kind", [torch.float16, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", reference.CASES)
def test_nearest_centroid_is_exact(name: str, kind: torch.dtype, device: torch.device) -> None:
    rows, centroids = reference.case(name, 20, 40, 70, kind, device)
    column, score, others = found_by(rows, centroids)
    wide, fixed = rows.float().cpu().numpy(), centroids.cpu().numpy()
    np.testing.assert_array_equal(column, reference.nearest(wide, fixed))
    scores = reference.scores(wide, fixed)
    own = scores[np.arange(len(rows)), column]
    scale = np.abs(scores).max(initial=1e-30)
    np.testing.assert_allclose(score, own, rtol=1e-6, atol=1e-6 * scale)
    scores[np.arange(len(rows)), column] = -np.inf
    assert (others >= scores.max(axis=1) - 1e-6 * scale).all()
    assert (others <= score + 1e-6 * scale).all()


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("dimension", [1, 7, 63, 64, 65, 130])
@pytest.mark.parametrize("name", ["clustered", "copies"])
def test_any_dimension(name: str, dimension: int, device: torch.device) -> None:
    rows, centroids = reference.case(name, 20, 33, dimension, torch.float32, device)
    column, _, _ = found_by(rows, centroids)
    np.testing.assert_array_equal(column, reference.nearest(rows.cpu().numpy(), centroids.cpu().numpy()))


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("n_centroids", [1, 2, 31, 32, 33, 257])
def test_any_number_of_centroids(n_centroids: int, device: torch.device) -> None:
    rows, centroids = reference.case("uneven", 20, n_centroids, 24, torch.float16, device)
    column, score, others = found_by(rows, centroids)
    np.testing.assert_array_equal(
        column, reference.nearest(rows.float().cpu().numpy(), centroids.cpu().numpy())
    )
    assert np.isfinite(score).all()
    assert np.isfinite(others).all() == (n_centroids > 1)


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("n_rows", [0, 1, 15, 16, 17])
def test_any_number_of_rows(n_rows: int, device: torch.device) -> None:
    rows, centroids = reference.case("clustered", n_rows, 40, 64, torch.float16, device)
    column, score, others = found_by(rows, centroids)
    assert column.shape == score.shape == others.shape == (n_rows,)
    np.testing.assert_array_equal(
        column, reference.nearest(rows.float().cpu().numpy(), centroids.cpu().numpy())
    )


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("tile", launches.TILES[::2], ids=str)
def test_tiles_of_the_card(tile: Tile, device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launches, "tile_for", lambda *_: tile)
    rows, centroids = reference.case("copies", 70, 130, 20, torch.float32, device)
    column, _, _ = found_by(rows, centroids)
    np.testing.assert_array_equal(column, reference.nearest(rows.cpu().numpy(), centroids.cpu().numpy()))


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("name", ["clustered", "copies", "all zero"])
def test_left_out_centroids_do_not_count(name: str, device: torch.device) -> None:
    rows, centroids = reference.case(name, 30, 40, 20, torch.float32, device)
    left_out = (torch.arange(30, device=device) % 41) - 1
    column, _, others = found_by(rows, centroids, left_out=left_out)
    squared = reference.squared_distances(rows.cpu().numpy(), centroids.cpu().numpy())
    out = left_out.cpu().numpy()
    squared[np.flatnonzero(out >= 0), out[out >= 0]] = np.inf
    np.testing.assert_array_equal(column, squared.argmin(axis=1))
    assert np.isfinite(others).all()


@pytest.mark.usefixtures("small_tiles")
def test_nothing_counts_if_the_only_centroid_is_left_out(device: torch.device) -> None:
    rows, centroids = reference.case("clustered", 5, 1, 20, torch.float32, device)
    column, score, others = found_by(
        rows, centroids, left_out=torch.zeros(5, dtype=torch.int64, device=device)
    )
    assert (column == 0).all()
    assert (score == -math.inf).all()
    assert (others == -math.inf).all()


@pytest.mark.usefixtures("small_tiles")
def test_rows_below_the_limit_of_interest_score_nothing(device: torch.device) -> None:
    rows, centroids = reference.case("copies", 40, 50, 33, torch.float32, device)
    best = reference.scores(rows.cpu().numpy(), centroids.cpu().numpy()).max(axis=1)
    at_least = torch.from_numpy(best + np.where(np.arange(40) % 2, 0.1, -0.1)).float().to(device)
    column, score, others = found_by(rows, centroids, at_least=at_least)
    exact = reference.nearest(rows.cpu().numpy(), centroids.cpu().numpy())
    np.testing.assert_array_equal(column[::2], exact[::2])
    assert np.isfinite(score[::2]).all()
    assert (score[1::2] == -math.inf).all()
    assert (others[1::2] >= best[1::2] - 1e-6).all(), "the best was not scored, so it is one of the others"


@pytest.mark.parametrize("kind", [torch.float16, torch.float32], ids=str)
@pytest.mark.parametrize("name", reference.CASES)
def test_scores_of_the_kernel_keep_to_their_bound(name: str, kind: torch.dtype, device: torch.device) -> None:
    rows, centroids = reference.case(name, 50, 60, 130, kind, device)
    norms = torch.linalg.vector_norm(rows.float(), dim=1)
    half, book = HalfRows.of(rows, norms), half_centroids(centroids)
    best, column, second, maxima = launches.best_two(half, book, None, SMALL_TILE)
    exact = reference.scores(rows.float().cpu().numpy(), centroids.cpu().numpy())
    error = ScoreError.of(book).of_rows(norms, half).double().cpu().numpy()
    best, second = best.double().cpu().numpy(), second.double().cpu().numpy()
    share = SMALL_TILE.columns * 2.0**-23 * (1 + 1e-3)
    own = exact[np.arange(50), column.cpu().numpy()]
    assert (np.abs(best - own) <= error + share * np.abs(best)).all()
    ordered = np.sort(exact, axis=1)
    assert (np.abs(best - ordered[:, -1]) <= error + share * np.abs(best)).all()
    assert (np.abs(second - ordered[:, -2]) <= error + share * np.abs(second)).all()
    assert np.array_equal(maxima.amax(dim=0).cpu().numpy(), best)
    for tile, of_tile in enumerate(maxima.double().cpu().numpy()):
        highest = exact[:, tile * SMALL_TILE.columns : (tile + 1) * SMALL_TILE.columns].max(axis=1)
        assert (np.abs(of_tile - highest) <= error + share * np.abs(of_tile)).all()


@pytest.mark.parametrize("columns", [32, 64])
def test_reach_names_every_column_above_the_threshold(columns: int, device: torch.device) -> None:
    rows, centroids = reference.case("ties", 150, 75, 10, torch.float16, device)
    norms = torch.linalg.vector_norm(rows.float(), dim=1)
    half, book = HalfRows.of(rows, norms), half_centroids(centroids)
    exact = reference.scores(rows.float().cpu().numpy(), centroids.cpu().numpy())
    threshold = np.sort(exact, axis=1)[:, -5].astype(np.float32)
    n_tiles = -(-75 // columns)
    tiles = torch.arange(n_tiles, device=device).repeat_interleave(150)
    # The last tile has three rows.
    tiles, numbers = tiles[:-147], torch.arange(150, device=device).repeat(n_tiles)[:-147]
    thresholds = torch.from_numpy(threshold).to(device)
    words = launches.reach(half, book, None, thresholds, (tiles, numbers), columns)
    found = np.zeros(exact.shape, dtype=bool)
    for place, inside in search._positions(words):
        found[numbers[place].cpu().numpy(), (tiles[place] * columns + inside).cpu().numpy()] = True
    expected = exact >= threshold[:, None]
    expected[3:, (n_tiles - 1) * columns :] = False
    np.testing.assert_array_equal(found, expected)


@pytest.mark.usefixtures("small_tiles")
def test_all_at_once_or_little_by_little(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, centroids = reference.case("ties", 40, 100, 3, torch.float32, device)
    at_once = found_by(rows, centroids)
    monkeypatch.setattr(search, "_MOST_MAXIMA", 128)
    monkeypatch.setattr(search, "_MOST_REACHED", 40)
    monkeypatch.setattr(search, "_MOST_WORDS", 7)
    np.testing.assert_array_equal(at_once[0], reference.nearest(rows.cpu().numpy(), centroids.cpu().numpy()))
    for one, other in zip(at_once, found_by(rows, centroids), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("length", [1e19, 1e25])
def test_rows_beyond_the_range_are_left_to_the_plain_search(length: float, device: torch.device) -> None:
    rows, centroids = reference.case("clustered", 30, 20, 8, torch.float32, device)
    rows[::3] *= length
    searched, book = SearchedRows.of(rows), Codebook.of(1e-10 * centroids)
    expected, found = PlainCentroids(book).best_two(searched), CudaCentroids(book).best_two(searched)
    assert torch.equal(found.column, expected.column)
    assert torch.equal(found.score, expected.score)
    assert torch.equal(
        CudaCentroids(book).leading(searched).others, PlainCentroids(book).leading(searched).others
    )


def test_a_view_that_is_kept_serves_some_of_the_rows(device: torch.device) -> None:
    rows, centroids = reference.case("copies", 60, 40, 20, torch.float32, device)
    norms, numbers = torch.linalg.vector_norm(rows, dim=1), torch.arange(5, 60, 7)
    searching = CudaCentroids(Codebook.of(centroids))
    assert searching.viewer.is_kept
    view = searching.viewer.view(rows, norms)
    whole = searching.best(SearchedRows(rows, norms, view))
    some = searching.best(SearchedRows(rows[numbers], norms[numbers], view[numbers]))
    assert torch.equal(some.column, whole.column[numbers])
    assert view.values.element_size() * view.values.shape[1] + 8 == row_bytes(20)
