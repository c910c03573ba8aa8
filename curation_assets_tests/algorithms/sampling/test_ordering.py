"""Sorting inside groups: the order of np.lexsort, whatever the types, the ties and the size of a block."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.algorithms.sampling import ordering
from curation_assets.algorithms.sampling.ordering import (
    group_sums,
    order_in_groups,
    run_starts,
    sorted_blocks,
)

KEYS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "hashes": lambda rng, n: rng.integers(0, 2**64, n, dtype=np.uint64),
    # All but the last bits are equal: they do not fit into one integer with the position.
    "close hashes": lambda rng, n: rng.integers(0, 9, n, dtype=np.uint64) + np.uint64(7) * np.uint64(2**60),
    "both ends": lambda rng, n: rng.choice(np.array([0, 1, 2, 2**64 - 2, 2**64 - 1], np.uint64), n),
    "signed": lambda rng, n: rng.integers(-3, 3, n) * 2**61,
    "small": lambda rng, n: rng.integers(-3, 3, n).astype(np.int8),
    "distances": lambda rng, n: rng.normal(size=n).astype(np.float32),
    "ties": lambda rng, n: np.round(rng.normal(size=n), 1),
    "specials": lambda rng, n: rng.choice([0.0, -0.0, np.nan, -np.nan, np.inf, -np.inf, 5e-324, -1.0], n),
    "neighbours": lambda rng, n: np.nextafter(1.0, 2.0) ** rng.integers(0, 5, n),
    "halves": lambda rng, n: rng.normal(size=n).astype(np.float16),
    "flags": lambda rng, n: rng.random(n) < 0.5,
}


@given(
    st.sampled_from(sorted(KEYS)),
    st.sampled_from(sorted(KEYS)),
    st.integers(0, 10_000),
    st.integers(1, 60),
    st.integers(1, 400),
)
def test_the_order_is_that_of_lexsort(
    first: str, last: str, seed: int, n_groups: int, block_rows: int
) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(0, 500))
    groups = (n_groups * rng.random(n) ** 4).astype(rng.choice([np.int32, np.int64, np.uint16]))
    keys = [KEYS[first](rng, n), KEYS[last](rng, n)]
    np.testing.assert_array_equal(order_in_groups(groups, *keys), np.lexsort((*keys[::-1], groups)))
    one = np.lexsort((keys[0], groups))
    sizes = np.bincount(groups, minlength=n_groups)
    blocks = list(sorted_blocks(groups, keys[:1], sizes, block_rows=block_rows))
    np.testing.assert_array_equal(np.concatenate([np.zeros(0, np.uint32), *blocks]), one)
    assert all(len(block) <= block_rows + 2 * sizes.max() for block in blocks)
    # Groups of size 0 are left out, whatever rows they have.
    sizes[::3] = 0
    blocks = list(sorted_blocks(groups, keys[:1], sizes, block_rows=block_rows))
    np.testing.assert_array_equal(
        np.concatenate([np.zeros(0, np.uint32), *blocks]), one[groups[one] % 3 != 0]
    )


def test_bits_that_do_not_fit_are_put_right() -> None:
    rng = np.random.default_rng(0)
    # The position takes 19 bits, which leaves 45 for a key that differs in the last of its 64 only.
    n, groups = 2**18, np.zeros(2**18, dtype=np.int64)
    key = rng.integers(0, 3, n, dtype=np.uint64)
    key[0] = 2**64 - 1
    np.testing.assert_array_equal(order_in_groups(groups, key), np.lexsort((key, groups)))


def test_chunks_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    groups, key, weights = rng.integers(0, 50, 1000), rng.integers(0, 9, 1000), rng.integers(0, 2**57, 1000)
    monkeypatch.setattr(ordering, "_CHUNK_ROWS", 7)
    blocks = list(sorted_blocks(groups, [key], np.bincount(groups), block_rows=40))
    assert len(blocks) > 10
    np.testing.assert_array_equal(np.concatenate(blocks), np.lexsort((key, groups)))
    assert group_sums(groups, 60).tolist() == np.bincount(groups, minlength=60).tolist()
    # Beyond 2**53, where the sums of floats are not exact.
    exact = [sum(weights[groups == g].tolist()) for g in range(60)]
    assert group_sums(groups, 60, weights).tolist() == exact


def test_runs_and_what_cannot_be_sorted() -> None:
    assert run_starts(np.array([4, 4, 1, 1, 1, 4])).tolist() == [0, 2, 5]
    assert run_starts(np.zeros(0, dtype=int)).tolist() == []
    with pytest.raises(TypeError, match="type <U1 cannot be sorted: use integers or floats"):
        order_in_groups(np.zeros(1, dtype=int), np.array(["x"]))
