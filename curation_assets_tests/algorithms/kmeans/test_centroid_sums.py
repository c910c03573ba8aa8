"""Sums of clusters: slices, merging, means, and what moves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.algorithms.kmeans.centroid_sums import CentroidSums, SumDelta, merge_deltas


def delta(clusters: list[int], sums: list[float], counts: list[float]) -> SumDelta:
    return SumDelta(np.array(clusters), np.array(sums, dtype=float)[:, None], np.array(counts, dtype=float))


def test_two_workers_deltas_add_up() -> None:
    merged = merge_deltas([delta([0, 3], [1, 2], [1, 1]), delta([3, 4], [5, -1], [2, -1])])
    assert merged.clusters.tolist() == [0, 3, 4]
    assert merged.sums[:, 0].tolist() == [1, 7, -1]
    assert merged.counts.tolist() == [1, 3, -1]


@given(st.sets(st.integers(0, 19)), st.integers(1, 7))
def test_slices_hold_every_cluster_once_in_its_range(clusters: set[int], n_slices: int) -> None:
    chosen = sorted(clusters)
    pieces = delta(chosen, [float(c) for c in chosen], [1.0] * len(chosen)).sliced(20, n_slices)
    assert len(pieces) == n_slices
    assert [c for piece in pieces for c in piece.clusters.tolist()] == chosen
    assert [s for piece in pieces for s in piece.sums[:, 0].tolist()] == chosen


def test_only_clusters_that_changed_move_and_empty_ones_stay() -> None:
    sums = CentroidSums(np.array([[0.0], [5.0], [9.0]], dtype=np.float32), "l2", 100.0)
    sums.add(delta([0, 1], [4, 10], [2, 2]))
    assert sums.update()[:, 0].tolist() == [2, 5, 9]
    sums.add(delta([1], [-5], [-1]))
    assert sums.update()[:, 0].tolist() == [2, 5, 9]
    # Gains are 4 * 4 / 2 and 5 * 5 / 1.
    assert sums.inertia() == pytest.approx(100 - 8 - 25)


def test_cosine_keeps_centroids_at_unit_length_and_leaves_rows_that_cancel_out() -> None:
    start = np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32)
    sums = CentroidSums(start, "cosine", 4.0)
    sums.add(SumDelta(np.array([0, 1]), np.array([[3.0, 4.0], [0.0, 0.0]]), np.array([6.0, 2.0])))
    np.testing.assert_allclose(sums.update(), [[0.6, 0.8], [0.0, 1.0]])
