from __future__ import annotations

import numpy as np
import pytest
import torch

from curation_assets.algorithms.search.cuda import row_launches
from curation_assets.algorithms.search.cuda.sums import add_rows

from . import reference

pytestmark = [pytest.mark.kernel]


@pytest.mark.parametrize("kind", [torch.float16, torch.float32], ids=str)
@pytest.mark.parametrize("dimension", [1, 7, 8, 31, 40, 100])
def test_squared_distances_are_those_of_the_cpu_to_the_last_bit(
    dimension: int, kind: torch.dtype, device: torch.device
) -> None:
    rows, centroids = reference.case("clustered", 9, 6, dimension, kind, device)
    number, column = (values.flatten().to(device) for values in torch.meshgrid(
        torch.arange(9), torch.arange(6), indexing="ij"
    ))  # fmt: skip
    squared = row_launches.pair_squares(rows, number, centroids, column)
    expected = reference.squared_distances(rows.float().cpu().numpy(), centroids.cpu().numpy())
    np.testing.assert_array_equal(squared.cpu().numpy(), expected.flatten())
    own = row_launches.pair_squares(rows, None, centroids, torch.arange(9, device=device) % 6)
    np.testing.assert_array_equal(own.cpu().numpy(), expected[np.arange(9), np.arange(9) % 6])


@pytest.mark.parametrize("kind", [torch.float16, torch.float32], ids=str)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("some", [False, True])
def test_sums_are_exact(kind: torch.dtype, weighted: bool, some: bool, device: torch.device) -> None:
    rng = np.random.default_rng(0)
    rows = torch.from_numpy(np.rint(rng.normal(size=(150, 20)) * 2**9) * 2.0**-12).to(kind).to(device)
    chosen = rng.permutation(150)[:90] if some else np.arange(150)
    clusters = rng.integers(7, size=len(chosen))
    mass = rng.integers(-3, 4, size=len(chosen)).astype(float) if weighted else np.ones(len(chosen))
    sums = torch.ones(9, 20, dtype=torch.float64, device=device)
    add_rows(
        rows,
        torch.from_numpy(chosen).to(device) if some else None,
        torch.from_numpy(clusters).to(device),
        torch.from_numpy(mass).to(device) if weighted else None,
        sums,
    )
    expected = np.ones((9, 20))
    np.add.at(expected, clusters, rows.double().cpu().numpy()[chosen] * mass[:, None])
    np.testing.assert_array_equal(sums.cpu().numpy(), expected)


def test_no_rows_add_nothing(device: torch.device) -> None:
    sums = torch.zeros(2, 3, dtype=torch.float64, device=device)
    nothing = torch.empty(0, dtype=torch.int64, device=device)
    add_rows(torch.empty(0, 3, device=device), None, nothing, None, sums)
    assert not sums.any()
