"""The Vendi score, worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.algorithms.measures.vendi import vendi_score


@pytest.mark.parametrize(("n_groups", "size"), [(1, 5), (4, 1), (4, 3), (3, 50)])
def test_equal_groups_at_right_angles_score_their_number(n_groups: int, size: int) -> None:
    rows = np.repeat(np.eye(8, dtype=np.float32)[:n_groups], size, axis=0)
    assert vendi_score(rows) == pytest.approx(n_groups)


def test_lengths_and_rows_of_zeros_do_not_count() -> None:
    rows = np.array([[3.0, 0], [0, 0.2], [0, 0]], dtype=np.float32)
    assert vendi_score(rows) == pytest.approx(2)
    assert vendi_score(np.zeros((3, 2))) == 0
    assert vendi_score(np.empty((0, 2))) == 0


def test_rows_are_seen_from_the_origin() -> None:
    rows = np.array([[6.0, 5], [5, 6], [4, 5], [5, 5]], dtype=np.float32)
    # From (5, 5): right, up and left; the last row has no direction. Left and right are one axis.
    expected = np.exp(-(2 / 3 * np.log(2 / 3) + 1 / 3 * np.log(1 / 3)))
    assert vendi_score(rows, np.array([5, 5], dtype=np.float32)) == pytest.approx(expected)
    assert vendi_score(rows) < 1.1


def test_two_rows_at_an_angle() -> None:
    # The eigenvalues of the kernel of two rows with cosine 0.6 are (1 +- 0.6) / 2.
    rows = np.array([[1, 0], [0.6, 0.8]])
    assert vendi_score(rows) == pytest.approx(np.exp(-(0.8 * np.log(0.8) + 0.2 * np.log(0.2))))


def test_uneven_groups_score_less() -> None:
    rows = np.repeat(np.eye(2), [3, 1], axis=0)
    assert vendi_score(rows) == pytest.approx(np.exp(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25))))


@given(st.integers(1, 60), st.integers(1, 20), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_the_score_is_that_of_the_kernel_and_does_not_depend_on_order(m: int, d: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(m, d))
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    shares = np.linalg.eigvalsh(unit @ unit.T / m)
    shares = shares[shares > 1e-12]
    score = vendi_score(rows)
    assert score == pytest.approx(np.exp(-(shares * np.log(shares)).sum()))
    assert score == pytest.approx(vendi_score(rows[rng.permutation(m)]))
    assert 1 - 1e-9 <= score <= min(m, d) + 1e-9
