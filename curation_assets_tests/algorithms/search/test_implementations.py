"""Every search against the plain one, and that one against float64, on every edge case."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.algorithms.search.base import Found, NearestCentroids, SearchedRows
from curation_assets.algorithms.search.choose import nearest_centroids
from curation_assets.algorithms.search.codebook import MOST_CENTROIDS, Codebook
from curation_assets.algorithms.search.cpu.search import CpuCentroids
from curation_assets.algorithms.search.cpu.sketch import Basis, WholeRows
from curation_assets.algorithms.search.cuda.search import CudaCentroids
from curation_assets.algorithms.search.parts import CentroidsInParts
from curation_assets.algorithms.search.plain.search import PlainCentroids
from curation_assets_tests.algorithms.search.cuda.kernels_here import (
    device_of_kernels,
    use_small_searches,
)
from curation_assets_tests.algorithms.small_fits import CHOICES, clustered_rows, lengths

Case = tuple[torch.Tensor, torch.Tensor]
Search = Callable[[Codebook], NearestCentroids]


def _chosen(name: str) -> Search:
    return lambda book: nearest_centroids(book, 1000, choice=CHOICES[name])


def _in_parts(name: str) -> Search:
    def search(book: Codebook) -> NearestCentroids:
        viewer = _chosen(name)(book).viewer
        if name == "plain":
            return CentroidsInParts(book, PlainCentroids, most=7)
        assert viewer is None or isinstance(viewer, Basis | WholeRows)
        return CentroidsInParts(book, lambda part: CpuCentroids(part, viewer), most=7)

    return search


def _interpreted(book: Codebook) -> NearestCentroids:
    device_of_kernels()
    return CudaCentroids(book)


@pytest.fixture(autouse=True)
def small_searches(monkeypatch: pytest.MonkeyPatch) -> None:
    use_small_searches(monkeypatch)


SEARCHES: dict[str, Search] = {
    **{name: _chosen(name) for name in CHOICES},
    **{f"{name}, in parts": _in_parts(name) for name in CHOICES},
    "cuda": _interpreted,
}


def clustered(dimension: int, scale: float = 1.0) -> Case:
    return clustered_rows(0, 120, dimension, scale), clustered_rows(1, 40, dimension, scale)


def close_calls(dimension: int) -> Case:
    rows, centroids = clustered(dimension)
    generator = torch.Generator().manual_seed(3)
    twins = centroids * (1 + 1e-7 * torch.randn(centroids.shape, generator=generator))
    return torch.cat([rows, centroids, 0.5 * (centroids[::2] + centroids[1::2])]), torch.cat(
        [centroids, twins]
    )


def ties() -> Case:
    generator = torch.Generator().manual_seed(2)
    rows = torch.randint(-2, 3, (120, 6), generator=generator).float()
    return rows, torch.cat([rows[:20], rows[:20], rows[30:50]])


def zeros() -> Case:
    rows, centroids = ties()
    rows[::3], centroids[5:9] = 0, 0
    return rows, centroids


CASES: dict[str, Callable[[], Case]] = {
    "clustered": lambda: clustered(24),
    "close calls": lambda: close_calls(24),
    "close calls, d = 2": lambda: close_calls(2),
    "ties": ties,
    "zeros": zeros,
    "only zeros": lambda: (torch.zeros(9, 5), torch.zeros(4, 5)),
    "copies of one row": lambda: (torch.ones(9, 5), torch.ones(50, 5)),
    "k = 1": lambda: (clustered(6)[0], clustered(6)[1][:1]),
    "k = 2": lambda: (clustered(6)[0], clustered(6)[1][:2]),
    "d = 1": lambda: clustered(1),
    "d = 2": lambda: clustered(2),
    "d = 63": lambda: clustered(63),
    "lengths of 1e15": lambda: clustered(8, 1e15),
    "lengths of 1e-15": lambda: clustered(8, 1e-15),
    "squares below float32": lambda: clustered(8, 1e-25),
    "beyond the range of bfloat16": lambda: clustered(8, 3e17),
    "rows far from all centroids": lambda: (1e4 * clustered(8)[0], clustered(8)[1]),
    "one row": lambda: (clustered(8)[0][:1], clustered(8)[1]),
    "no rows": lambda: (clustered(8)[0][:0], clustered(8)[1]),
}


def case_for(search: str, name: str) -> Case:
    rows, centroids = CASES[name]()
    # The interpreter takes 0.1 ms for a score.
    return (rows[::2] if search == "cuda" else rows), centroids


def true_scores(rows: torch.Tensor, centroids: torch.Tensor, left_out: torch.Tensor | None) -> torch.Tensor:
    """(|x|^2 - |x - c|^2) / 2 in float64."""
    squared = (rows.double()[:, None] - centroids.double()).square().sum(dim=-1)
    scores = 0.5 * (rows.double().square().sum(dim=1)[:, None] - squared)
    if left_out is not None:
        out = torch.nonzero(left_out >= 0).flatten()
        scores[out, left_out[out]] = -math.inf
    return scores


def nearest_by_brute_force(case: Case, left_out: torch.Tensor | None) -> torch.Tensor:
    rows, centroids = case
    squared = (rows.double()[:, None] - centroids.double()).square().sum(dim=-1)
    if left_out is not None:
        out = torch.nonzero(left_out >= 0).flatten()
        squared[out, left_out[out]] = math.inf
    return torch.from_numpy(squared.numpy().argmin(axis=1))


def hold(found: Found, searched: SearchedRows, book: Codebook) -> None:
    """What `NearestCentroids.best` promises, for rows of interest."""
    scores = true_scores(searched.block, book.centroids, searched.left_out)
    bound = 2 * book.error_bound(searched.norms).double()
    best, counts = scores.amax(dim=1), torch.ones(len(scores), dtype=torch.bool)
    if searched.at_least is not None:
        counts = best >= searched.at_least.double() + bound
        beyond = best < searched.at_least.double() - bound
        assert (found.score[beyond].double() <= (searched.at_least + bound)[beyond]).all()
    named = found.column[counts]
    assert torch.equal(
        named, nearest_by_brute_force((searched.block, book.centroids), searched.left_out)[counts]
    )
    assert ((found.score.double() - best).abs() <= bound)[counts].all()
    others = scores.scatter(1, found.column[:, None], -math.inf).amax(dim=1)
    assert (found.others.double() >= others - bound)[counts].all()


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("search", SEARCHES)
def test_nothing_known(search: str, name: str) -> None:
    rows, centroids = case_for(search, name)
    book, searched = Codebook.of(centroids), SearchedRows.of(rows)
    hold(SEARCHES[search](book).best(searched), searched, book)
    hold(SEARCHES[search](book).best_two(searched), searched, book)


@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith("k = 1")])
@pytest.mark.parametrize("search", SEARCHES)
def test_scores_of_interest_and_a_centroid_left_out(search: str, name: str) -> None:
    rows, centroids = case_for(search, name)
    book, generator = Codebook.of(centroids), torch.Generator().manual_seed(5)
    left_out = torch.randint(-1, len(centroids), (len(rows),), generator=generator)
    scores = true_scores(rows, centroids, left_out)
    best = scores.amax(dim=1).float()
    bound = 2 * book.error_bound(lengths(rows))
    # In turn: what the best one has for certain, more than it has, nothing known.
    turn = torch.arange(len(rows)) % 3
    at_least = torch.where(turn == 0, best - bound, torch.where(turn == 1, best + 4 * bound, -math.inf))
    own = best + bound
    searched = SearchedRows(rows, lengths(rows), at_least=at_least, left_out=left_out)
    hold(SEARCHES[search](book).best(searched), searched, book)
    beside = SearchedRows(rows, lengths(rows), at_least=at_least, own=own, left_out=left_out)
    hold(SEARCHES[search](book).best_two(beside), beside, book)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 10_000),
    st.sampled_from(list(SEARCHES)),
    st.sampled_from([1, 2, 5, 24, 63]),
    st.booleans(),
)
def test_the_runner_up_is_known_as_closely_as_bounds_allow(
    seed: int, search: str, dimension: int, beside: bool
) -> None:
    rows, centroids = clustered_rows(seed, 60, dimension), clustered_rows(seed + 1, 30, dimension)
    book, norms = Codebook.of(centroids), lengths(rows)
    plain = PlainCentroids(book).leading(SearchedRows(rows, norms), runner_up=True)
    own = plain.score + 0.1 if beside else None
    found = SEARCHES[search](book).leading(SearchedRows(rows, norms, own=own), runner_up=True)
    bound = 2 * book.error_bound(norms)
    assert (found.others >= plain.others - bound).all()
    # bfloat16 is off by a few times 2^-8 of the lengths, sketches by what lies outside their directions.
    slack = 0.1 * (norms + book.largest_norm).square() + bound
    assert (found.others <= plain.others + slack).all()


@pytest.mark.parametrize("search", ["plain", "all scores", "whole rows"])
@pytest.mark.parametrize("dimension", [2, 24])
def test_more_centroids_than_are_compared_at_a_time(search: str, dimension: int) -> None:
    k = 68_000
    assert k > 4 * MOST_CENTROIDS
    generator = torch.Generator().manual_seed(0)
    centroids = torch.randn(k, dimension, generator=generator)
    # Copies beyond the first part must not win, centroids that are only there must.
    centroids[-2000:-1000] = centroids[:1000]
    rows = torch.cat([centroids[:50], centroids[-2000:-1950], centroids[-50:], torch.randn(50, dimension)])
    found = SEARCHES[search](Codebook.of(centroids)).best_two(SearchedRows.of(rows))
    squared = torch.cdist(rows.double(), centroids.double(), compute_mode="donot_use_mm_for_euclid_dist")
    assert torch.equal(found.column, torch.from_numpy(squared.numpy().argmin(axis=1)))
    assert found.column[:100].tolist() == [*range(50), *range(50)]
    assert found.column[100:150].tolist() == list(range(k - 50, k))
