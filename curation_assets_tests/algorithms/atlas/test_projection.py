from __future__ import annotations

import numpy as np
import pytest

from curation_assets.algorithms.atlas.projection import project


def blobs(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Three far groups of rows, float32 (n, 10), and the group of each."""
    rng = np.random.default_rng(seed)
    group = np.arange(n) % 3
    return (rng.normal(size=(3, 10))[group] * 5 + rng.normal(size=(n, 10)) * 0.2).astype(np.float32), group


def test_near_rows_stay_near() -> None:
    rows, group = blobs(150)
    plane = project(rows, seed=0)
    assert plane.dtype == np.float32
    distances = np.linalg.norm(plane[:, None] - plane[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert (group[distances.argmin(axis=1)] == group).all()


def test_the_same_rows_give_the_same_picture() -> None:
    rows, _ = blobs(60)
    np.testing.assert_array_equal(project(rows, seed=3), project(rows.copy(), seed=3))


def test_a_seed_may_have_more_bits_than_the_projection_takes() -> None:
    rows, _ = blobs(20)
    np.testing.assert_array_equal(project(rows, seed=2**32 + 3), project(rows, seed=3))


@pytest.mark.parametrize("n", [0, 1, 2, 5, 8, 9, 40])
def test_few_rows_have_a_place(n: int) -> None:
    rows, _ = blobs(n)
    plane = project(rows, seed=0)
    assert plane.shape == (n, 2)
    assert np.isfinite(plane).all()
    assert len(np.unique(plane, axis=0)) == n


@pytest.mark.parametrize("dimension", [1, 2, 100])
def test_equal_rows_and_rows_of_any_length_have_a_finite_place(dimension: int) -> None:
    equal = np.full((20, dimension), 0.25, dtype=np.float32)
    assert not project(equal, seed=0).any()
    copies = np.repeat(np.random.default_rng(0).normal(size=(4, dimension)), 5, axis=0)
    assert np.isfinite(project(copies, seed=0)).all()
