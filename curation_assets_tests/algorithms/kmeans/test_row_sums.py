"""Sums of rows by cluster."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.algorithms import threads as part_threads
from curation_assets.algorithms.kmeans.row_sums import add_rows


def test_by_hand() -> None:
    block = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    sums = torch.ones(2, 2, dtype=torch.float64)
    mass = torch.tensor([1.0, 10.0, -1.0], dtype=torch.float64)
    add_rows(block, None, torch.tensor([1, 0, 1]), mass, sums)
    assert sums.tolist() == [[31.0, 41.0], [-3.0, -3.0]]
    add_rows(block, torch.tensor([1]), torch.tensor([1]), mass[:1], sums)
    assert sums.tolist() == [[31.0, 41.0], [0.0, 1.0]]


@given(st.integers(0, 1000), st.integers(1, 40), st.integers(1, 4))
def test_any_number_of_threads_gives_the_sums_of_matrix_products(seed: int, dimension: int, n: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    # Multiples of a power of two, as prepared rows are: sums of them are exact.
    block = torch.randint(-1000, 1000, (30, dimension), generator=generator) / 1024
    rows = torch.randint(30, (50,), generator=generator)
    clusters = torch.randint(7, (50,), generator=generator)
    mass = torch.randint(1, 5, (50,), generator=generator).double()
    members = torch.zeros(7, 50, dtype=torch.float64)
    members[clusters, torch.arange(50)] = mass
    sums, before = torch.zeros(7, dimension, dtype=torch.float64), torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(part_threads, "_SINGLE_THREAD_PART", 1)
        torch.set_num_threads(n)
        try:
            add_rows(block, rows, clusters, mass, sums)
        finally:
            torch.set_num_threads(before)
    assert sums.tolist() == (members @ block[rows].double()).tolist()
