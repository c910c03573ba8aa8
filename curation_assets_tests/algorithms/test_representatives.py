"""Examples of a cluster go to its children by mass, down to level 1."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.algorithms.representatives import representatives, share_out


def array(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def test_examples_are_shared_out_by_mass() -> None:
    # 8 x (50, 30, 20) / 100 = 4.0, 2.4, 1.6: the last example goes to the largest remainder.
    assert share_out(array(50, 30, 20), 8).tolist() == [4, 2, 2]
    # Of equal remainders the larger one: 2 x (6, 2) / 8 = 1.5, 0.5.
    assert share_out(array(2, 6), 2).tolist() == [0, 2]
    assert share_out(array(5, 5), 1).tolist() == [1, 0]


def test_two_levels_by_hand() -> None:
    # Cluster 0 holds 10 samples in clusters 0 (7), 2 (2) and 3 (1) of level 1; cluster 1 of level 1 is another's.
    found = representatives(0, [array(7, 9, 2, 1), array(10, 9)], [array(0, 1, 0, 0)], 3)
    # 3 x (7, 2, 1) / 10 = 2.1, 0.6, 0.3.
    assert found.clusters.tolist() == [0, 2]
    assert found.counts.tolist() == [2, 1]
    assert (found.n_children, found.n_shown, found.covered) == (3, 2, 0.9)


def test_the_largest_part_of_every_child_stands_for_it() -> None:
    # Level 2: cluster 0 holds 8 (5 + 3 below), cluster 1 holds 4 (one small, one large below), both below cluster 0.
    found = representatives(
        0, [array(1, 5, 3, 3), array(8, 4), array(12)], [array(1, 0, 0, 1), array(0, 0)], 2
    )
    # 2 x (8, 4) / 12 = 1.33, 0.67: one each; inside, the largest.
    assert found.clusters.tolist() == [1, 3]
    assert (found.n_children, found.n_shown, found.covered) == (2, 2, 1.0)


def test_children_are_counted_where_the_cluster_divides() -> None:
    # The top level repeats level 2, which divides; an empty cluster is no child.
    found = representatives(0, [array(6, 4, 0), array(10)], [array(0, 0, 0)], 1)
    assert (found.n_children, found.n_shown, found.covered) == (2, 1, 0.6)
    repeated = representatives(0, [array(6, 4, 0), array(10), array(10)], [array(0, 0, 0), array(0)], 1)
    assert (repeated.n_children, repeated.n_shown, repeated.covered) == (2, 1, 0.6)


def test_a_cluster_of_level_1_stands_for_itself() -> None:
    found = representatives(1, [array(5, 2)], [], 8)
    assert (found.clusters.tolist(), found.counts.tolist()) == ([1], [2])
    assert (found.n_children, found.n_shown, found.covered) == (0, 0, 1.0)


@pytest.mark.parametrize(("cluster", "n"), [(0, 0), (1, 3)])
def test_nothing_to_share_out_is_refused(cluster: int, n: int) -> None:
    with pytest.raises(ValueError, match=f"cluster {cluster} has . samples and gets {n} examples"):
        representatives(cluster, [array(5, 0)], [], n)


@given(st.data())
def test_the_children_shown_hold_most(data: st.DataObject) -> None:
    bottom = np.array(data.draw(st.lists(st.integers(0, 40), min_size=1, max_size=30)), dtype=np.int64)
    n_middle = data.draw(st.integers(1, 6))
    middle_of = np.array([data.draw(st.integers(0, n_middle - 1)) for _ in bottom], dtype=np.int64)
    middle = np.bincount(middle_of, weights=bottom, minlength=n_middle).astype(np.int64)
    total = int(bottom.sum())
    if not total:
        return
    n = data.draw(st.integers(1, 12))
    top_of = np.zeros(n_middle, dtype=np.int64)
    found = representatives(0, [bottom, middle, array(total)], [middle_of, top_of], n)
    assert found.counts.sum() == min(n, total)
    assert (found.counts <= bottom[found.clusters]).all()
    assert len(np.unique(found.clusters)) == len(found.clusters)
    filled = np.sort(middle[middle > 0])[::-1]
    if len(filled) > 1:
        assert found.n_children == len(filled)
        assert found.covered == pytest.approx(filled[: found.n_shown].sum() / total)
        assert found.n_shown == len(np.unique(middle_of[found.clusters]))
