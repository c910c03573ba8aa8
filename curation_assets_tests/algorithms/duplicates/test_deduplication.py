"""Greedy deduplication over coarse clusters: one result, however the work is cut up."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.algorithms.duplicates.coarse_clusters import (
    fit_coarse_clusters,
    n_coarse_clusters,
    visit_clusters,
)
from curation_assets.algorithms.duplicates.deduplication import Removals, State, remove_near_duplicates
from curation_assets.algorithms.duplicates.near_duplicates import (
    effective_threshold,
    exact_twins,
    judge_cluster,
)
from curation_assets.algorithms.preprocessing import Preprocessing
from curation_assets.algorithms.rows import ArrayRows

PREPARED = Preprocessing("cosine", None, 2.0**-24)


def plane(*degrees: float) -> np.ndarray:
    radians = np.radians(degrees)
    return PREPARED.apply(np.stack([np.cos(radians), np.sin(radians)], axis=1))


def random_rows(seed: int, n_rows: int, dimension: int = 4) -> np.ndarray:
    """Rows of which a third are copies."""
    rng = np.random.default_rng(seed)
    rows = PREPARED.apply(rng.normal(size=(n_rows, dimension)))
    rows[rng.integers(n_rows, size=n_rows // 3)] = rows[rng.integers(n_rows, size=n_rows // 3)]
    return rows


def deduplicate(
    rows: np.ndarray, clusters: np.ndarray, rank: np.ndarray, threshold: float, batch_bytes: int = 2**20
) -> tuple[set[int], Removals]:
    states = np.full(len(rows), State.OPEN, dtype=np.int8)
    found = remove_near_duplicates(
        ArrayRows(rows), clusters, states, rank, threshold=threshold, batch_bytes=batch_bytes
    )
    kept = set(np.flatnonzero(states == State.KEPT).tolist())
    assert kept | set(found.rows.tolist()) == set(range(len(rows)))
    return kept, found


def brute_force(rows: np.ndarray, clusters: np.ndarray, rank: np.ndarray, threshold: float) -> set[int]:
    cosines = rows.astype(np.float64) @ rows.astype(np.float64).T
    meets = np.zeros(cosines.shape, dtype=bool)
    for cluster in range(clusters.max() + 1):
        inside = (clusters == cluster).any(axis=1)
        meets |= inside[:, None] & inside
    kept: list[int] = []
    for row in np.argsort(rank):
        if not any(meets[row, other] and cosines[row, other] >= threshold for other in kept):
            kept.append(int(row))
    return set(kept)


def test_a_chain_by_hand() -> None:
    """25.8 degrees are a cosine of 0.9: 0-20-40-60 keeps every other, each removed row names its nearest."""
    rows = plane(0, 20, 41, 60)
    one = np.zeros((4, 1), dtype=np.int32)
    kept, found = deduplicate(rows, one, np.arange(4), 0.9)
    assert (kept, found.rows.tolist(), found.twins.tolist()) == ({0, 2}, [1, 3], [0, 2])
    np.testing.assert_allclose(found.similarities, np.cos(np.radians([20, 19])), atol=1e-6)
    kept, found = deduplicate(rows, one, np.array([1, 0, 2, 3]), 0.9)
    assert (kept, found.twins.tolist()) == ({1, 3}, [1, 3])


def test_a_row_in_two_clusters_waits_for_both() -> None:
    """Row 1 falls to row 0 in the first cluster, so row 2 stays though the second one saw only row 1."""
    rows = plane(0, 20, 40)
    clusters = np.array([[0, -1], [0, 1], [1, -1]], dtype=np.int32)
    for batch_bytes in (1, 2**20):
        kept, found = deduplicate(rows, clusters, np.arange(3), 0.9, batch_bytes)
        assert (kept, found.twins.tolist()) == ({0, 2}, [2])
    kept, _ = deduplicate(rows, clusters[:, ::-1].copy(), np.array([2, 1, 0]), 0.9)
    assert kept == {0, 2}


def test_who_judges_a_batch_says_where() -> None:
    """Three clusters are three batches: in each of two passes a judge asks once for its device."""
    rows, asked = plane(0, 5, 90, 95, 180, 185), []

    def device() -> str:
        asked.append("here")
        return "cpu"

    clusters = np.array([[0], [0], [1], [1], [2], [2]], dtype=np.int32)
    states = np.full(6, State.OPEN, dtype=np.int8)
    remove_near_duplicates(
        ArrayRows(rows), clusters, states, np.arange(6), threshold=0.9, batch_bytes=1, device=device
    )
    assert len(asked) == 6


def test_kept_rows_stand_and_only_touched_clusters_are_read() -> None:
    rows = plane(0, 5, 90, 95, 180, 185)
    clusters = np.array([[0], [0], [1], [1], [2], [2]], dtype=np.int32)
    states = np.array([State.OPEN, State.KEPT, State.KEPT, State.OPEN, State.KEPT, State.KEPT], dtype=np.int8)
    found = remove_near_duplicates(ArrayRows(rows), clusters, states, np.arange(6), threshold=0.9)
    assert (found.rows.tolist(), found.twins.tolist()) == ([0, 3], [1, 2])
    assert states[4] == states[5] == State.KEPT, "decisions stand, even against each other"
    assert found.n_clusters_touched == 2


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    n_rows=st.integers(1, 120),
    k=st.integers(1, 9),
    most=st.integers(1, 4),
    threshold=st.sampled_from([0.5, 0.8, 0.9, 0.97, 0.999, 1.0]),
    batch_bytes=st.sampled_from([1, 300, 2**20]),
)
def test_it_is_the_greedy_one_and_every_twin_stays(
    seed: int, n_rows: int, k: int, most: int, threshold: float, batch_bytes: int
) -> None:
    rows = random_rows(seed, n_rows)
    rng = np.random.default_rng(seed)
    centroids = fit_coarse_clusters(rows, k, rng=rng)
    clusters = visit_clusters(rows, centroids, threshold=threshold, most=most).clusters
    rank = rng.permutation(n_rows)
    kept, found = deduplicate(rows, clusters, rank, threshold, batch_bytes)
    limit = effective_threshold(threshold)
    assert kept == brute_force(rows, clusters, rank, limit)
    assert kept.issuperset(found.twins.tolist())
    assert (found.similarities >= limit).all()


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000), block=st.sampled_from([1, 2, 7, 64]), columns=st.sampled_from([1, 3, 64]))
def test_chunks_do_not_matter(seed: int, block: int, columns: int) -> None:
    rows = torch.from_numpy(random_rows(seed, 60))
    rng = np.random.default_rng(seed)
    is_open, is_inner = rng.random(60) < 0.8, rng.random(60) < 0.6
    whole = judge_cluster(rows, is_open, is_inner, threshold=0.85)
    cut = judge_cluster(rows, is_open, is_inner, threshold=0.85, block_rows=block, block_columns=columns)
    np.testing.assert_array_equal(cut.removed, whole.removed)
    assert not (whole.removed & ~is_open).any()
    # A row that is blocked in one cut is removed or blocked in any: never free.
    np.testing.assert_array_equal(cut.free, whole.free)


def test_a_threshold_of_one_means_the_same_direction() -> None:
    vectors = np.random.default_rng(1).normal(size=(300, 384)).astype(np.float32)
    rows = PREPARED.apply(np.concatenate([vectors, 3 * vectors]))
    one = np.zeros((600, 1), dtype=np.int32)
    kept, found = deduplicate(rows, one, np.arange(600), 1.0)
    assert kept == set(range(300))
    assert found.twins.tolist() == list(range(300))


def test_rows_without_direction_are_no_duplicates() -> None:
    kept, _ = deduplicate(np.zeros((3, 2), np.float32), np.zeros((3, 1), np.int32), np.arange(3), 0.5)
    assert kept == {0, 1, 2}


def test_all_the_same_leaves_one() -> None:
    rows = np.repeat(plane(30), 5000, axis=0)
    kept, found = deduplicate(rows, np.zeros((5000, 1), np.int32), np.arange(5000)[::-1].copy(), 0.95)
    assert kept == {4999}
    assert set(found.twins.tolist()) == {4999}


def test_exact_twins_by_hand() -> None:
    digests = np.array([[1, 1], [2, 1], [1, 1], [1, 2], [1, 1]], dtype=np.uint64)
    assert exact_twins(digests, np.array([2, 0, 1, 3, 4])).tolist() == [2, -1, -1, -1, 2]
    assert exact_twins(digests[:0], np.arange(0)).tolist() == []


def test_borders_within_reach_are_crossed() -> None:
    """The border of clusters at 0 and 90 degrees is at 45; half of 25.8 degrees reach from 32.1 to 57.9."""
    centroids = plane(0, 90)
    rows = plane(10, 31, 33, 45, 57, 59)
    visits = visit_clusters(rows, centroids, threshold=0.9)
    assert visits.clusters[:, :2].tolist() == [[0, -1], [0, -1], [0, 1], [0, 1], [1, 0], [1, -1]]
    np.testing.assert_allclose(visits.similarities[0], np.cos(np.radians(10)), atol=1e-6)
    alone = visit_clusters(rows, centroids, threshold=0.9, most=1)
    assert alone.clusters.tolist() == [[0], [0], [0], [0], [1], [1]]


@pytest.mark.parametrize(
    ("n_rows", "expected"), [(0, 1), (1, 1), (1400, 1), (1600, 2), (100_000, 100), (100_000_000, 10_000)]
)
def test_coarse_clusters_hold_a_thousand_rows(n_rows: int, expected: int) -> None:
    assert n_coarse_clusters(n_rows) == expected
