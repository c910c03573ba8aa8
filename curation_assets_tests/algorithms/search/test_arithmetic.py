"""Every implementation of the formulas against float64, and by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.algorithms import threads as part_threads
from curation_assets.algorithms.search.arithmetic import Arithmetic
from curation_assets.algorithms.search.cpu.arithmetic import CpuArithmetic
from curation_assets.algorithms.search.cuda.arithmetic import CudaArithmetic
from curation_assets.algorithms.search.pairs import arithmetic_of
from curation_assets.algorithms.search.plain.arithmetic import PlainArithmetic
from curation_assets_tests.algorithms.search.cuda.kernels_here import device_of_kernels, use_small_searches

IMPLEMENTATIONS: dict[str, Callable[[], Arithmetic]] = {
    "plain": PlainArithmetic,
    "cpu": CpuArithmetic,
    "cuda": CudaArithmetic,
}


@pytest.fixture(params=IMPLEMENTATIONS)
def arithmetic(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Arithmetic:
    if request.param == "cuda" and device_of_kernels().type != "cpu":
        pytest.skip("its tests on the card are in cuda/")
    use_small_searches(monkeypatch)
    return IMPLEMENTATIONS[request.param]()


def _pairs(seed: int, dimension: int, n_pairs: int = 50) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    block = torch.randn(20, dimension, generator=generator)
    centroids = torch.randn(9, dimension, generator=generator)
    rows = torch.randint(20, (n_pairs,), generator=generator)
    return block, rows, centroids, torch.randint(9, (n_pairs,), generator=generator)


@pytest.mark.parametrize("dimension", [1, 3, 40])
def test_scores(arithmetic: Arithmetic, dimension: int) -> None:
    block, rows, centroids, clusters = _pairs(dimension, dimension)
    bias = torch.arange(9.0)
    expected = block.double() @ centroids.double().T + bias
    scores = arithmetic.scores(block, centroids, bias)
    torch.testing.assert_close(scores.double(), expected, rtol=0, atol=1e-4)
    of_pairs = arithmetic.pair_scores(block, rows, centroids, bias, clusters)
    torch.testing.assert_close(of_pairs.double(), expected[rows, clusters], rtol=0, atol=1e-4)
    own = arithmetic.pair_scores(block[:9], None, centroids, bias, torch.arange(9))
    torch.testing.assert_close(own.double(), expected.diagonal(), rtol=0, atol=1e-4)


@pytest.mark.parametrize("dimension", [1, 3, 40])
def test_a_squared_distance_does_not_depend_on_other_pairs(arithmetic: Arithmetic, dimension: int) -> None:
    block, rows, centroids, clusters = _pairs(dimension, dimension)
    whole = arithmetic.squared_distances(block, rows, centroids, clusters)
    expected = (block[rows].double() - centroids[clusters].double()).square().sum(dim=1)
    torch.testing.assert_close(whole, expected, rtol=1e-14, atol=0)
    for i in range(0, len(rows), 17):
        alone = arithmetic.squared_distances(block, rows[i : i + 1], centroids, clusters[i : i + 1])
        assert alone.tolist() == whole[i : i + 1].tolist()
    assert torch.equal(arithmetic.squared_distances(block[rows], None, centroids, clusters), whole)


def test_squared_distances_by_hand(arithmetic: Arithmetic) -> None:
    block, centroids = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 3.0]])
    zero = torch.zeros(2, dtype=torch.int64)
    assert arithmetic.squared_distances(block, zero, centroids, torch.arange(2)).tolist() == [14.0, 4.0]
    nothing = torch.empty(0, dtype=torch.int64)
    assert arithmetic.squared_distances(block, nothing, centroids, nothing).tolist() == []


def test_squared_lengths_by_hand(arithmetic: Arithmetic) -> None:
    rows = torch.tensor([[3.0, 4.0], [0.0, 0.0], [-1.0, 2.0]])
    assert arithmetic.squared_lengths(rows).tolist() == [25.0, 0.0, 5.0]
    assert arithmetic.squared_lengths(torch.empty(0, 3)).tolist() == []


def test_rows_that_moved(arithmetic: Arithmetic) -> None:
    before = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [0.0, 7.0]])
    after = torch.tensor([[1.0, 2.0], [3.0, 4.5], [5.5, 6.0], [-0.0, 7.0]])
    assert arithmetic.moved_rows(before, after).tolist() == [False, True, True, False]


def test_sums_by_hand(arithmetic: Arithmetic) -> None:
    block = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    sums = torch.ones(2, 2, dtype=torch.float64)
    mass = torch.tensor([1.0, 10.0, -1.0], dtype=torch.float64)
    arithmetic.add_rows(block, None, torch.tensor([1, 0, 1]), mass, sums)
    assert sums.tolist() == [[31.0, 41.0], [-3.0, -3.0]]
    arithmetic.add_rows(block, torch.tensor([1]), torch.tensor([1]), mass[:1], sums)
    assert sums.tolist() == [[31.0, 41.0], [0.0, 1.0]]


@pytest.mark.parametrize("dimension", [1, 7, 40])
def test_sums_are_those_of_matrix_products(arithmetic: Arithmetic, dimension: int) -> None:
    block, rows, clusters, mass, expected = _sums(dimension, dimension)
    sums = torch.zeros(7, dimension, dtype=torch.float64)
    arithmetic.add_rows(block, rows, clusters, mass, sums)
    assert torch.equal(sums, expected)


def _sums(seed: int, dimension: int) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    # Multiples of a power of two, as prepared rows are: sums of them are exact.
    block = torch.randint(-1000, 1000, (30, dimension), generator=generator) / 1024
    rows = torch.randint(30, (50,), generator=generator)
    clusters = torch.randint(7, (50,), generator=generator)
    mass = torch.randint(1, 5, (50,), generator=generator).double()
    members = torch.zeros(7, 50, dtype=torch.float64)
    members[clusters, torch.arange(50)] = mass
    return block, rows, clusters, mass, members @ block[rows].double()


@given(st.integers(0, 1000), st.integers(1, 40), st.integers(1, 4))
def test_any_number_of_threads_gives_the_same_bits(seed: int, dimension: int, n: int) -> None:
    block, rows, centroids, clusters = _pairs(seed, dimension)
    summed, some, of_cluster, mass, expected = _sums(seed, dimension)
    sums, before = torch.zeros_like(expected), torch.get_num_threads()
    alone = CpuArithmetic().squared_distances(block, rows, centroids, clusters)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(part_threads, "_SINGLE_THREAD_PART", 1)
        torch.set_num_threads(n)
        try:
            together = CpuArithmetic().squared_distances(block, rows, centroids, clusters)
            CpuArithmetic().add_rows(summed, some, of_cluster, mass, sums)
        finally:
            torch.set_num_threads(before)
    assert torch.equal(together, alone)
    assert torch.equal(sums, expected)


def test_devices_without_an_implementation_of_their_own_take_the_plain_one() -> None:
    assert type(arithmetic_of(torch.device("cpu"))) is CpuArithmetic
    assert type(arithmetic_of(torch.device("meta"))) is PlainArithmetic
