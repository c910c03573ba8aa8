"""Which search is chosen, and what rows keep for it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from curation_assets.algorithms.search import choose, kind
from curation_assets.algorithms.search.choose import Choice, nearest_centroids, row_basis, view_bytes
from curation_assets.algorithms.search.codebook import MOST_CENTROIDS, Codebook
from curation_assets.algorithms.search.cpu.search import CpuCentroids
from curation_assets.algorithms.search.cpu.sketch import Basis
from curation_assets.algorithms.search.cuda.search import CudaCentroids
from curation_assets.algorithms.search.kind import Kind
from curation_assets.algorithms.search.parts import CentroidsInParts
from curation_assets.algorithms.search.plain.search import PlainCentroids
from curation_assets_tests.algorithms.small_fits import CHOICES


def book_of(k: int, dimension: int, length: float = 1.0) -> Codebook:
    return Codebook.of(length * torch.ones(k, dimension))


def way(choice: Choice, n_rows: int, k: int, dimension: int) -> str:
    """Name of the way that is chosen, without looking at centroids."""
    search = nearest_centroids(book_of(k, dimension), n_rows, choice=choice)
    if isinstance(search, PlainCentroids):
        return "plain"
    assert isinstance(search, CpuCentroids)
    if isinstance(search.viewer, Basis):
        return "rounded sketches" if search.viewer.kind.is_rounded else "sketches"
    return "all scores" if search.viewer is None else "whole rows"


@pytest.mark.parametrize("name", CHOICES)
def test_the_way_that_is_asked_for_is_taken(name: str) -> None:
    assert way(CHOICES[name], 30, 12, 6) == name


@pytest.mark.parametrize("is_rounded", [False, True])
def test_where_each_way_pays(is_rounded: bool) -> None:
    choice = Choice(is_rounded=is_rounded)
    assert way(choice, 10_000, 300, 384) == ("rounded sketches" if is_rounded else "sketches")
    assert way(choice, 10_000, 200, 384) == ("whole rows" if is_rounded else "sketches")
    # Rows that are too narrow for sketches in bfloat16 have some in float32.
    assert way(choice, 10_000, 200, 180) == "sketches"
    otherwise = "whole rows" if is_rounded else "all scores"
    assert way(choice, 10_000, 200, 100) == otherwise
    assert way(choice, 10_000, 100, 384) == otherwise
    assert way(choice, 10_000, 2000, 16) == otherwise
    assert way(choice, 2000, 200, 384) == otherwise
    for n_rows, k, dimension in ((10_000, 20, 384), (10_000, 8000, 2), (10_000, 100, 60), (500, 2000, 384)):
        assert way(choice, n_rows, k, dimension) == "all scores"


def test_centroids_beyond_the_range_of_bfloat16_are_not_rounded() -> None:
    for name in ("sketches", "rounded sketches", "whole rows"):
        assert nearest_centroids(book_of(30, 6, 1e17), 100, choice=CHOICES[name]).viewer is not None
        assert nearest_centroids(book_of(30, 6, 1e18), 100, choice=CHOICES[name]).viewer is None


def test_many_centroids_are_searched_in_parts_with_one_basis() -> None:
    book = book_of(MOST_CENTROIDS + 1, 6)
    for name, viewed in (("plain", False), ("all scores", False), ("whole rows", True)):
        search = nearest_centroids(book, 10, choice=CHOICES[name])
        assert isinstance(search, CentroidsInParts)
        assert (search.viewer is not None) == viewed
    basis = row_basis(20, lambda numbers: torch.randn(len(numbers), 6), 6, CHOICES["sketches"])
    search = nearest_centroids(book, 10, basis=lambda: basis, choice=CHOICES["sketches"])
    assert search.viewer is basis


def test_the_sample_for_a_basis_is_evenly_spread() -> None:
    taken: list[np.ndarray] = []

    def take(numbers: np.ndarray) -> torch.Tensor:
        taken.append(numbers)
        return torch.randn(len(numbers), 200)

    row_basis(5, take, 200)
    row_basis(10**6, take, 200)
    assert taken[0].tolist() == [0, 1, 2, 3, 4]
    assert len(taken[1]) == 2048
    assert (taken[1][0], taken[1][-1]) == (0, 10**6 - 1)
    with pytest.raises(ValueError, match="too narrow"):
        row_basis(100, take, 100)


@pytest.mark.parametrize("is_rounded", [False, True])
def test_what_rows_keep(is_rounded: bool) -> None:
    choice = Choice(is_rounded=is_rounded)
    for dimension in (170, 200, 384):
        basis = row_basis(50, lambda numbers, d=dimension: torch.randn(len(numbers), d), dimension, choice)
        assert view_bytes(dimension, "cpu", choice) == basis.kind.row_bytes
    assert view_bytes(100, "cpu", choice) == 0
    assert view_bytes(384, "cpu", replace(choice, is_plain=True)) == 0


def test_what_rows_keep_on_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kind, "runs_kernels", lambda device: device.type == "cuda")
    assert view_bytes(384, "cuda") == 2 * 384 + 8
    assert view_bytes(385, "cuda:1") == 2 * 448 + 8
    assert view_bytes(384, "cuda", Choice(is_plain=True)) == 0
    monkeypatch.setattr(kind, "runs_kernels", lambda _: False)
    assert view_bytes(384, "cuda") == 0


def test_kernels_are_chosen_where_they_run_and_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "kind_of", lambda _: Kind.CUDA)
    assert isinstance(nearest_centroids(book_of(1000, 8), 10_000), CudaCentroids)
    assert isinstance(nearest_centroids(book_of(1, 8), 10_000), CudaCentroids)
    assert isinstance(nearest_centroids(book_of(MOST_CENTROIDS + 1, 6), 200), CudaCentroids)
    plain = Choice(is_plain=True)
    assert isinstance(nearest_centroids(book_of(1000, 8), 10_000, choice=plain), PlainCentroids)
    assert not isinstance(nearest_centroids(book_of(1000, 8), 2000), CudaCentroids), "one tile of scores"
    assert not isinstance(nearest_centroids(book_of(30, 6, 1e18), 10_000), CudaCentroids)
    assert not isinstance(nearest_centroids(book_of(30, 6, float("nan")), 10_000), CudaCentroids)
