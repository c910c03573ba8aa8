"""Many searches at once find what each finds by itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from curation_assets.algorithms.search.cuda import grouped_launches
from curation_assets.algorithms.search.cuda.grouped_search import GroupedRows
from curation_assets_tests.algorithms.search.cuda.kernels_here import use_small_searches

from . import reference

pytestmark = [pytest.mark.kernel]
SHAPES = ((20, 40), (3, 1), (17, 33), (1, 7))
"""Rows and centroids of each group: more than a tile of either, a single one, and fewer rows than centroids."""


@pytest.fixture(autouse=True)
def _small_tiles(monkeypatch: pytest.MonkeyPatch, device: torch.device) -> None:
    if device.type == "cpu":
        use_small_searches(monkeypatch)


def groups_of(
    name: str, dimension: int, device: torch.device
) -> tuple[list[tuple[torch.Tensor, torch.Tensor]], np.ndarray, np.ndarray]:
    every = [reference.case(name, n, k, dimension, torch.float32, device) for n, k in SHAPES]
    sizes, widths = np.array(SHAPES).T
    return every, np.concatenate([[0], np.cumsum(sizes)]), np.concatenate([[0], np.cumsum(widths)])


def found_by(
    every: list[tuple[torch.Tensor, torch.Tensor]], bounds: np.ndarray, places: np.ndarray, *runs: int
) -> np.ndarray:
    rows = GroupedRows(torch.cat([rows for rows, _ in every]), bounds)
    centroids = torch.cat([centroids for _, centroids in every])
    among = rows.among(
        centroids, rows.places(places), float(torch.linalg.vector_norm(centroids, dim=1).max())
    )
    takes_part = np.array(runs, dtype=bool) if runs else np.ones(len(every), dtype=bool)
    return rows.nearest(among, rows.runs(takes_part)).cpu().numpy()


@pytest.mark.parametrize(("name", "dimension"), [*((name, 12) for name in reference.CASES), ("copies", 70)])
def test_the_nearest_centroid_of_a_group_is_exact(name: str, dimension: int, device: torch.device) -> None:
    every, bounds, places = groups_of(name, dimension, device)
    found = found_by(every, bounds, places)
    for group, (rows, centroids) in enumerate(every):
        nearest = reference.nearest(rows.cpu().numpy(), centroids.cpu().numpy())
        np.testing.assert_array_equal(found[bounds[group] : bounds[group + 1]], places[group] + nearest)


@pytest.mark.parametrize("most_columns", [32, 64])
def test_one_tile_and_several_tiles_of_centroids_find_the_same(
    most_columns: int, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grouped_launches, "_MOST_COLUMNS", most_columns)
    every, bounds, places = groups_of("copies", 20, device)
    found = found_by(every, bounds, places)
    monkeypatch.setattr(grouped_launches, "_MOST_COLUMNS", 128)
    np.testing.assert_array_equal(found, found_by(every, bounds, places))


def test_groups_that_are_left_out_change_nothing(device: torch.device) -> None:
    every, bounds, places = groups_of("clustered", 12, device)
    some = found_by(every, bounds, places, 1, 0, 1, 0)
    everyone = found_by(every, bounds, places)
    for group in (0, 2):
        rows = slice(bounds[group], bounds[group + 1])
        np.testing.assert_array_equal(some[rows], everyone[rows])


def test_tiles_never_hold_rows_of_two_groups() -> None:
    groups, first = grouped_launches.row_tiles(np.array([0, 5, 6, 22]), 4, torch.device("cpu"))
    assert groups.tolist() == [0, 0, 1, 2, 2, 2, 2]
    assert first.tolist() == [0, 4, 5, 6, 10, 14, 18]


@pytest.mark.parametrize(
    ("most", "columns", "n_bytes"), [(1, 32, 4), (33, 64, 8), (100, 128, 16), (1000, 128, 128)]
)
def test_bits_fill_whole_tiles_of_columns(most: int, columns: int, n_bytes: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grouped_launches, "_MOST_COLUMNS", 128)
        assert grouped_launches.columns_for(most) == columns
        assert grouped_launches.word_bytes(most) == n_bytes
