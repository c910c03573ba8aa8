from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.algorithms.atlas.strata import strata_quotas


def test_quotas_worked_by_hand() -> None:
    assert strata_quotas(np.array([3, 4]), 10).tolist() == [3, 4]
    # A quarter of 100 is 12 for each of two groups; of the 76 left, 990 - 12 and 10 - 10 get by size.
    assert strata_quotas(np.array([990, 10]), 100).tolist() == [90, 10]
    assert strata_quotas(np.array([1_000_000, 1, 0, 2]), 10).tolist() == [8, 1, 0, 1]
    with pytest.raises(ValueError, match="total is 0"):
        strata_quotas(np.array([3]), 0)


@given(st.lists(st.integers(0, 5_000), min_size=1, max_size=8), st.integers(1, 3_000))
def test_quotas_are_exact_and_leave_no_group_out(sizes: list[int], total: int) -> None:
    quotas = strata_quotas(np.array(sizes), total)
    assert quotas.sum() == min(total, sum(sizes))
    assert (quotas >= 0).all()
    assert (quotas <= sizes).all()
    n_groups = sum(size > 0 for size in sizes)
    if total >= n_groups:
        assert ((quotas > 0) == (np.array(sizes) > 0)).all()
