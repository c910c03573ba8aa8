"""What one k-means costs: counts worked by hand, and counts of real fits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from curation_assets.algorithms.costs.kmeans_cost import (
    FitCost,
    inside_assignment_cost,
    lloyd_cost,
    lloyd_iterations,
    moved_share,
    seeding_cost,
)
from curation_assets.algorithms.kmeans import seeding
from curation_assets.algorithms.kmeans.tiles import TiledRows
from curation_assets.algorithms.rows import ArrayRows
from curation_assets.algorithms.threads import parts_on_threads


class Products(TorchDispatchMode):
    """Counts rows times columns of every matrix product."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        if func is torch.ops.aten.mm.default:
            self.count += args[0].shape[0] * args[1].shape[1]
        elif func in (torch.ops.aten.addmm.default, torch.ops.aten.addmm.out):
            self.count += args[1].shape[0] * args[2].shape[1]
        return func(*args, **(kwargs or {}))


def test_costs_add_up() -> None:
    total = FitCost(5, 1, 2, steps=3) + FitCost(7, 1, 1, proposals=6, small_products=4)
    assert total == FitCost(12, 2, 3, 3, 6, 4)


def test_greedy_seeds_compare_every_row_with_every_candidate() -> None:
    # 10 clusters: 2 + int(log 10) = 4 candidates for each seed but the first.
    cost = seeding_cost(1000, 10, 8)
    assert cost.distances == 1000 + 1000 * 4 * 9
    assert (cost.passes, cost.steps) == (1, 9)


def test_planned_reads_are_those_of_a_search_that_streams() -> None:
    class CountedRows(ArrayRows):
        n_read = 0

        def read(self, start: int, stop: int) -> np.ndarray:
            self.n_read += stop - start
            return super().read(start, stop)

    rows = CountedRows(np.random.default_rng(0).normal(size=(5000, 200)).astype(np.float32))
    tiled = TiledRows(rows, "cpu", resident_bytes=0, chunk_bytes=2**19)
    seeding.kmeans_plus_plus(tiled, 400, np.random.default_rng(0), n_local_trials=1)
    assert rows.n_read == 5000 * seeding_cost(5000, 400, 200, n_local_trials=1).reads


def test_batched_seeds_compare_every_row_with_every_seed_once() -> None:
    # One seed; 4 x 9 missing ones = 36 proposals, of which the first 18 give the 9: half of them are accepted.
    cost = seeding_cost(1000, 10, 8, n_local_trials=1)
    assert cost.proposals == 36
    assert cost.distances == 1000 * 10 + 18 * 9 // 2
    assert (cost.passes, cost.reads, cost.steps) == (2, 3, 0)
    # 256 proposals and 128 seeds; 4 x 129 = 516 proposals, 0.8 of which are 413; 4 x 58 = 232, enough for 58.
    cost = seeding_cost(1000, 600, 8, n_local_trials=1)
    assert cost.distances == 1000 * 600 + 256 * 128 // 2 + 517 * 413 // 2 + 73 * 58 // 2
    assert (cost.passes, cost.reads, cost.steps) == (4, 5, 0)


def test_planned_seeding_is_close_to_what_a_search_computes() -> None:
    x = np.random.default_rng(0).normal(size=(4000, 16)).astype(np.float32)
    for k, trials in ((300, 1), (20, 5)):
        # A mode sees what its own thread does.
        with Products() as products, parts_on_threads(work=1):
            seeding.kmeans_plus_plus(ArrayRows(x), k, np.random.default_rng(0), n_local_trials=trials)
        planned = seeding_cost(4000, k, 16, n_local_trials=trials)
        assert planned.distances == pytest.approx(products.count, rel=0.1)


def test_iterations_and_searched_centroids_grow_with_the_rows_per_cluster() -> None:
    # 4 x 10^0.27 = 7.4 and 0.16 x 10^0.26 = 0.29.
    assert lloyd_iterations(1000, 100, 50) == 8
    assert moved_share(1000, 100) == pytest.approx(0.291, abs=0.001)
    assert lloyd_iterations(1000, 100, 5) == 5
    assert moved_share(10**9, 10) == 1.0


def test_lloyd_searches_all_centroids_at_least_once() -> None:
    assert lloyd_cost(1000, 100, 1).distances == 1000 * 100
    cost = lloyd_cost(1000, 100, 50)
    assert cost.distances == round(8 * moved_share(1000, 100) * 10**5)
    assert (cost.passes, cost.reads) == (8, 10)


def test_at_most_every_iteration_searches_everything() -> None:
    assert lloyd_cost(1000, 100, 50, at_most=True) == FitCost(50 * 1000 * 100, 50, 52)


def test_rows_meet_coarse_clusters_chunk_by_chunk() -> None:
    # Chunks of 4,000 bytes hold 100 rows of 10 values, of which there are 10: each meets nearly all 5 coarse clusters.
    cost = inside_assignment_cost(1000, 5, 3, 10, chunk_bytes=4000)
    assert cost.distances == 1000 * (5 + 3)
    assert cost.small_products == 50
    # A chunk of one row meets one coarse cluster of a million.
    assert inside_assignment_cost(1000, 10**6, 3, 10, chunk_bytes=40).small_products == 1000


@given(st.integers(1, 10**9), st.integers(1, 10**6), st.integers(1, 100))
def test_what_is_expected_is_no_more_than_what_is_possible(n: int, k: int, iterations: int) -> None:
    k = min(k, n)
    expected, most = lloyd_cost(n, k, iterations), lloyd_cost(n, k, iterations, at_most=True)
    assert n * k <= expected.distances <= most.distances
    assert expected.passes <= most.passes


@given(st.integers(1, 10**7), st.integers(1, 10**5), st.integers(1, 2048))
def test_seeding_costs_grow_with_rows(n: int, k: int, dimension: int) -> None:
    k = min(k, n)
    few, many = (seeding_cost(rows, k, dimension, n_local_trials=1) for rows in (n, 2 * n))
    assert n * k <= few.distances < many.distances
    assert few.passes == many.passes
